"""From a parsed request to a ranking."""
