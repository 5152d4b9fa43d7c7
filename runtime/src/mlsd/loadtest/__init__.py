"""Open-loop load, the knee, baselines, drills."""
