"""Sweeps: what a command plans, how it is trained, and what is shown of it."""
