"""Rows that are in memory: any kind of table to a run, and its answers back as the same kind of table."""
