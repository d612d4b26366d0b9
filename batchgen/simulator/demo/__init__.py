"""What makes the simulated answers to the sample jobs look real: values lifted from the text, fitted to a schema."""
