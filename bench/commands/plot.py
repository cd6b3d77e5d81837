"""`python -m bench plot EXPERIMENT`: figures, tables and a report, as of `python -m plots`."""

from plots.__main__ import main

__all__ = ["main"]
