"""The harness: data, coverage, training in cohorts, evaluation and records."""

from pathlib import Path

CONF = Path(__file__).resolve().parents[1] / "conf"
"""The configuration, beside this package in a checkout and in an installation alike.

Found by path and not as a package: a user's own folder `conf` must not stand in for it.
"""
