"""What a family of problems does at each step."""
