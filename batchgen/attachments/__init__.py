"""Files that go with a row: pictures, PDF, recordings and texts (`[attach]` of a job).

`cells` finds them in a column and reads what identifies them; `load` makes them parts of a message, within the limits
of `limits`, when their row is about to be asked. Nothing is held in memory longer than that.
"""
