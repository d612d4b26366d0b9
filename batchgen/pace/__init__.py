"""When a request may leave: `pacer.py` decides, `limiter.py` makes rows wait, `retry.py` says when to try again."""
