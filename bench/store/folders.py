"""Where a sweep keeps things on disk beside its records while it lasts."""

from pathlib import Path


class SweepFiles:
    """The folder ``<root>/<experiment>/.sweep``."""

    def __init__(self, experiment: Path):
        """Take the folder of the experiment's records."""
        self.experiment, self.folder = experiment, experiment / ".sweep"
        self.heartbeats = self.folder / "heartbeats"
        self.checkpoints = self.folder / "checkpoints"
        self.slurm = self.folder / "slurm"
