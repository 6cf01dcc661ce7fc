"""Pseudonyms that still group and join, the salts that key them, and proof of what is left in the open."""
