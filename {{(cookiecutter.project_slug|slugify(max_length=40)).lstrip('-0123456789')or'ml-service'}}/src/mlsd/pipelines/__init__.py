"""Step 4 as a pipeline: thin components around plain functions, compiled for Kubeflow and run here."""
