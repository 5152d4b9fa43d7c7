"""Admission, the worker pool, circuit breakers."""
