"""Rebuilding: closed visits of some dates cut anew, with late events, forgotten logs and rejects, or without a log."""
