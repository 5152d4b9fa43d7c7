"""What a rollout observes, and its verdict."""
