"""The one run that the words of a command name, for commands that look at its data alone."""

from typing import Any, NamedTuple

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.settings.checks import check_data
from bench.settings.composition import Composer
from bench.settings.run import HARNESS_KEYS, RunConfig, run_config
from bench.settings.sizes import check_sizes, memory_here
from bench.settings.typed import ConfigError


class SingleRun(NamedTuple):
    """One run as plain settings and as typed objects."""

    settings: dict[str, Any]
    config: RunConfig

    def load(self) -> tuple[Task, OfflineDataset]:
        """Return its task and what the degradation leaves of the data."""
        task = self.config.dataset.load(None)
        return task, self.config.coverage(task.data)


def single_run(words: list[str], command: str) -> SingleRun:
    """Return the one run that the words name.

    Raises:
        ConfigError: If they name several, or data that cannot be made.
    """
    jobs = list(Composer(words).jobs())
    if len(jobs) != 1:
        raise ConfigError(
            f"{command} is for one dataset, but these words name {len(jobs)} runs: give each "
            "setting one value."
        )
    settings = {k: v for k, v in jobs[0].items() if k not in HARNESS_KEYS}
    config = run_config(settings)
    check_data(config)
    check_sizes(config, memory_here())
    return SingleRun(settings, config)
