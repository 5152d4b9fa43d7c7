"""From an alert to a retrain or rollback, once and within limits."""
