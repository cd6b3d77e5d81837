"""Policies that others have trained, kept to collect data by: their training, files and data."""
