"""What lasts: the output directory with its lock, journal, parts, cost summary and state."""
