"""Engines: where cohorts are trained. They move work and know nothing of training."""
