"""Access logs: formats, the parsers of their lines, what becomes of their fields; files named by their content."""
