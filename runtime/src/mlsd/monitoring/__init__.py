"""Step 6: drift, quality, business metric, slices."""
