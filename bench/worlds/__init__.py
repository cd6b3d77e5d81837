"""Worlds: what is acted in, exactly solved where it can be."""
