"""Engines that score: one interface, one module each."""
