"""Comparisons: learners, and settings of one, against each other."""
