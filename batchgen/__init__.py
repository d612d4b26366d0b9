"""batchgen: a table of prompts in, every row answered once, Parquet out."""

__version__ = "0.1.0"
