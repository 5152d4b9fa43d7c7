"""The Feast repository of a state folder."""
