"""Step 3: sources, checks, temporal split, slices, arrivals of labels."""
