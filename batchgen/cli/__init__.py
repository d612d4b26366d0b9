"""The command line: commands, options, messages, progress bar, price list and simulated endpoint."""
