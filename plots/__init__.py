"""Figures and tables, drawn from stored records only."""
