"""Rows to results: the run, its workers, an attempt, the turns of structured answers, and the books."""
