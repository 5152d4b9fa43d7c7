"""Step 5: the model server."""
