"""Rankings computed ahead of the request."""
