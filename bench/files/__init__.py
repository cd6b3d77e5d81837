"""Datasets that are read from files: D4RL and Minari, made flat once and mapped into memory."""
