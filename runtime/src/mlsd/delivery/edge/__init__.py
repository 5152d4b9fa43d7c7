"""What the edge does: buckets, routes, counts."""
