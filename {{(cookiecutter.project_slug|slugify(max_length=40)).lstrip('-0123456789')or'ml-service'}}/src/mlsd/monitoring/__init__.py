"""Step 6: drift, quality, business and slices; triggers; the hooks that retrain and roll back."""
