"""Data: transitions, views of them, where they come from and how they are degraded."""
