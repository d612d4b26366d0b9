"""The page of `batchgen view`: answers looked at and corrected in a browser, read by DuckDB from the Parquet files."""
