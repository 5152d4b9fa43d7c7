"""The other contestants, written as their own documentation shows."""
