"""Training: one cohort, from its data to its records."""
