"""Step 4: candidates from the simplest model up, measured side by side."""
