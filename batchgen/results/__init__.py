"""What a run has answered so far: one reader of parts and journal, also beside a running process."""
