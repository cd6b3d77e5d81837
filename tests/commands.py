"""What the words of a command line stand for: composed settings and plans."""

from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import initialize_config_dir

from bench import CONF
from bench.composition import Composer
from bench.config import HARNESS_KEYS
from bench.plan import Plan, make_plan


def composer(*words: str) -> Composer:
    """Return the composer of a command's words; Hydra must have been initialised."""
    return Composer(GlobalHydra.instance().config_loader(), list(words))


def settings(*words: str) -> list[dict[str, Any]]:
    """Return the composed settings of every run, without those that change no result."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        jobs = list(composer(*words).jobs())
    return [{k: v for k, v in job.items() if k not in HARNESS_KEYS} for job in jobs]


def plan(*words: str) -> Plan:
    """Return what the words would run."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return make_plan(composer(*words).jobs())
