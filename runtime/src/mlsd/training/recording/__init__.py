"""Runs, metrics and plots in MLflow."""
