"""Models loaded and exchanged while requests go on."""
