"""What a job will take before it is paid: `estimate.py` is the whole way, the others its steps."""
