"""Step 3: tables, contract, sources, split, slices, arrivals."""
