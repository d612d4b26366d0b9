"""Run against run on the same rows: `compare.py` is the whole way, the others its parts."""
