"""Tracking: what Weights & Biases is sent of records, and what the environment says of it."""
