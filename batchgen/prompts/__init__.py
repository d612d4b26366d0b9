"""A row to a prompt: templates, messages, and which prompts are the same."""
