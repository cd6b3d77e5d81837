"""Settings of every test."""

from hypothesis import settings

# The same examples every time and no limit on a single one: a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
