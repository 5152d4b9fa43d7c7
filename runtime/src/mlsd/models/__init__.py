"""Bundles with digests, engines, and the selection of an engine."""
