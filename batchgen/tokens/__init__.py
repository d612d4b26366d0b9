"""Counting tokens: exactly where the model's vocabulary is installed, else by a rule with a stated error."""
