"""Kubeflow Pipelines components and pipelines: thin wrappers."""
