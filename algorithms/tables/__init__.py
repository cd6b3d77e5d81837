"""Learners of tables alone, which plan in the empirical MDP of the data's counts."""
