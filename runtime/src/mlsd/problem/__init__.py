"""The seam: what a problem pack provides, its tables and their contract."""
