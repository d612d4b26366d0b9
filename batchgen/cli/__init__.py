"""The command: its commands, options, messages, progress bar, price list and simulated endpoint."""
