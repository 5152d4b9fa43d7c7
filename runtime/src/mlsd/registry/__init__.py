"""MLflow's registry, and models fetched by version and digest."""
