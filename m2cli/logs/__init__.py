"""Access logs: formats as a table, a fast and an exact parser, and what names files by what is in them."""
