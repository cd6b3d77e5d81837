"""Settings of every test."""

from hypothesis import settings

import bench  # noqa: F401  (sets how threads wait, before anything imports torch)
from bench.__main__ import add_plugins

# The same examples every time and no limit on a single one: a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Hydra looks for plugins once in a process.
add_plugins()
