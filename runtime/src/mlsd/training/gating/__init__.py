"""The gates a candidate has to pass, and which candidate wins."""
