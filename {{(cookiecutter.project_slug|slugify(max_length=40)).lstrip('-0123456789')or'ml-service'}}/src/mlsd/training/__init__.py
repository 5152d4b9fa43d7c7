"""Step 4: the ladder of models, their evaluation, the gates, the registry."""
