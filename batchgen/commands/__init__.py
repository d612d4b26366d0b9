"""The commands, a module for each thing they work on: jobs, runs, and tables beside them. No decisions of a run."""
