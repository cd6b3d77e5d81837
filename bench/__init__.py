"""The harness: data, coverage, training in cohorts, evaluation and records."""
