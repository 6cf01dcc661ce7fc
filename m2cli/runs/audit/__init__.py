"""Audits: that a pseudonymous lake leads back to nobody, and what identifies in an input."""
