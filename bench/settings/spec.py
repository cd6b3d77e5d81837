"""RunSpec: one training with one seed, as it was planned and as it travels to whoever trains it."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.settings.run import RunConfig, TrainingConfig, run_config


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One training with one seed: its id, its settings as data and as typed objects."""

    run_id: str
    settings: dict[str, Any]
    config: RunConfig

    @cached_property
    def cohort_key(self) -> str:
        """What runs must share to be trained together: all but seeds, data and float settings."""
        algorithm = {
            key: "float" if isinstance(getattr(self.config.algorithm, key, None), float) else value
            for key, value in self.settings["algorithm"].items()
        }
        world = self.settings["dataset"].get("environment")
        dataset = self.settings["dataset"]
        shared = [dataset.get(key) for key in ("name", "id", "path", "max_steps", "discount")]
        shared += [dataset.get(key) for key in ("normalization", "hidden", "history")]
        lengths = [
            getattr(self.config, key) for key in TrainingConfig.model_fields if key != "seed"
        ]
        return json.dumps([algorithm, world, shared, lengths], sort_keys=True)

    def __reduce__(self) -> Any:
        """Travel as settings: typed objects are made anew where they arrive."""
        return planned, (self.run_id, self.settings)


def planned(run_id: str, settings: dict[str, Any]) -> RunSpec:
    """Return the run of settings that were planned before, under the id it was given.

    Raises:
        ConfigError: If the settings are no longer valid.
    """
    return RunSpec(run_id, settings, run_config(settings))
