"""A problem pack of the size the numbers are given for: 20 item, 30 user columns, a model matrix of 40 features."""
