"""Training: what a worker does with an order, from its data to its records."""
