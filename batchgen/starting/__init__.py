"""What `batchgen init` writes: a first job for a table or a mailbox, or one of the sample jobs."""
