"""Sweeps: their orders from the first to the last, the plans they leave, where they stand."""
