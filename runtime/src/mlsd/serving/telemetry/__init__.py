"""Metrics and traces of the model server."""
