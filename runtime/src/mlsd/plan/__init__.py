"""Arithmetic from the design: hop budgets, replicas, memory, samples a rollout needs, cost."""
