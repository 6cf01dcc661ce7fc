"""Event files: Parquet, NDJSON and CSV, found, told apart, and read into events and rejects."""
