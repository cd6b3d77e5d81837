"""The one run that the words of a command name, for commands that look at its data alone."""

from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from bench import CONF
from bench.compatibility import check_data
from bench.composition import Composer
from bench.config import HARNESS_KEYS, RunConfig, fill_defaults, run_config
from bench.datasets import OfflineDataset, Task
from bench.typed import ConfigError


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
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        jobs = list(Composer(GlobalHydra.instance().config_loader(), words).jobs())
    if len(jobs) != 1:
        raise ConfigError(
            f"{command} is for one dataset, but these words name {len(jobs)} runs: give each "
            "setting one value."
        )
    settings = {k: v for k, v in jobs[0].items() if k not in HARNESS_KEYS}
    settings = fill_defaults(settings)
    config = run_config(settings)
    check_data(config)
    return SingleRun(settings, config)
