"""Sections of a report: one product, one file."""
