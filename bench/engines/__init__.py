"""Engines: where orders are done; they move work and know nothing of training."""
