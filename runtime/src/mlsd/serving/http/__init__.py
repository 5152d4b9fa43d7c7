"""The HTTP protocol, its limits and its documentation."""
