"""Cohorts: runs stacked on a leading axis, their minibatches and one update for all of them."""
