"""Sweeps: many runs, from a command's words to the last record."""
