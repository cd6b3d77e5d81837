"""What the words of a command line stand for: composed settings and plans."""

from typing import Any

from bench.settings.composition import Composer
from bench.settings.run import HARNESS_KEYS
from bench.sweeps.plan import Plan, make_plan


def composer(*words: str) -> Composer:
    """Return the composer of a command's words."""
    return Composer(list(words))


def settings(*words: str) -> list[dict[str, Any]]:
    """Return the composed settings of every run, without those that change no result."""
    jobs = list(composer(*words).jobs())
    return [{k: v for k, v in job.items() if k not in HARNESS_KEYS} for job in jobs]


def plan(*words: str) -> Plan:
    """Return what the words would run where nothing is stored."""
    elsewhere = any(word.startswith("results_dir=") for word in words)
    return make_plan(composer(*(() if elsewhere else ("results_dir=/nowhere",)), *words).jobs())
