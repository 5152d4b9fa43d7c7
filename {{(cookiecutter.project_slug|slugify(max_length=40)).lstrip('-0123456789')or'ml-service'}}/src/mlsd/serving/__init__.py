"""Step 5: the request path."""
