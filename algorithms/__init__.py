"""One file is one algorithm, written for a single run; the cohort adds the run axis."""
