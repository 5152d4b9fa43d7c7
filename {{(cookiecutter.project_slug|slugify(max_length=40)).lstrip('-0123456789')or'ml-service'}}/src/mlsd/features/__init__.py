"""Step 3: Feast, the training join, the online reader and the item snapshot."""
