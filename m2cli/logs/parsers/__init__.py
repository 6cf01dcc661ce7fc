"""Takes lines apart, each by the parser that fits its format, and tells which format a log is of."""
