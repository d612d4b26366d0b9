"""Makes simulated answers to the sample jobs look real: values are extracted from the text and fit the schema."""
