"""What happened in a run and what it cost: read from its output directory, as values, text or one HTML page.

`read_report` folds the published parts a column at a time, in memory that does not grow with them.
"""
