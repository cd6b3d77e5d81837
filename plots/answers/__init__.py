"""Answers: what a command asks of records in place of a report."""
