"""Anonymizing: a lake into a pseudonymous one beside it, or events in a pipe."""
