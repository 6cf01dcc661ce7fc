"""What goes to stdout when it is asked for: results as a table, CSV, JSON, NDJSON or Parquet, a trace as a tree."""
