"""Step 3: Feast definitions applied, materialised and joined; item snapshots."""
