"""From scores to conclusions: aggregates with intervals, comparisons, worst cases, sample sizes."""
