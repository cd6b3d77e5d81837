"""Folders as they are named, and where a sweep keeps things beside its records while it lasts."""

import os
from pathlib import Path

REPORT = "report.html"


def named_folder(text: str) -> Path:
    """Return the folder that a word names; ``~`` is the home folder, which shells do not say of
    a word such as ``results_dir=~/x``.
    """
    return Path(os.path.expanduser(text))


def report_path(results: Path, experiment: str) -> Path:
    """Return where the report of an experiment is once it is drawn, all that belongs to it beside.

    Args:
        results: The folder of all results.
        experiment: Its name.
    """
    return results / "figures" / experiment / REPORT


class SweepFiles:
    """The folder ``<root>/<experiment>/.sweep``."""

    def __init__(self, experiment: Path):
        """Take the folder of the experiment's records."""
        self.experiment, self.folder = experiment, experiment / ".sweep"
        self.heartbeats = self.folder / "heartbeats"
        self.checkpoints = self.folder / "checkpoints"
        self.slurm = self.folder / "slurm"
