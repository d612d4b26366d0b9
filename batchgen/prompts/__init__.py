"""From a row to its prompt: templates, conversations in columns, and the detection of duplicate requests."""
