"""Worlds of clinical decisions: benchmarks, not medical devices."""
