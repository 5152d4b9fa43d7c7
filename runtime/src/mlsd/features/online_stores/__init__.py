"""Readers and writers of the online store, one module a store."""
