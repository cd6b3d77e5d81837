"""`python -m bench plot EXPERIMENT`: figures, tables and a report, as `python -m plots` draws them."""

from plots.__main__ import main

__all__ = ["main"]
