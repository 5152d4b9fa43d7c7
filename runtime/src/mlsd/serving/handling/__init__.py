"""One request from its bytes to its response."""
