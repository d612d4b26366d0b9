"""How right the answers of a run are, against gold columns: `evaluate.py` is the whole way, the others its parts."""
