"""Feast definitions of this pack."""
