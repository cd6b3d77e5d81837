"""Hydra's door to the launcher: `python -m bench -m ...` sweeps in cohorts.

Hydra finds plugins in the namespace package ``hydra_plugins``; `bench.__main__` puts this folder's
parent on the path, so the plugin is found in a checkout and in any kind of installation. Nothing
heavy is imported here, since Hydra imports every plugin at each start.
"""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CohortSweeper(Sweeper):
    """Hands the words of the command line to the launcher, which composes them cheaply."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what composing needs."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep and end the command with its exit status."""
        from bench.launcher import launch

        assert self.hydra_context is not None
        raise SystemExit(launch(self.hydra_context.config_loader, list(arguments)))
