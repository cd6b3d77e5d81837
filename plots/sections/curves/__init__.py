"""Curves: regret and estimates of coverage as figures over something measured or set."""
