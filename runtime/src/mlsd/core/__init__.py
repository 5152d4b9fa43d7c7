"""What every room may use: errors, the state folder, the clock, processes, results."""
