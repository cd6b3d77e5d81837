"""`python -m bench.export ID dataset=...`: any dataset here as a Minari dataset.

The words after the id are those of `python -m bench.describe`. Each segment of the data becomes an
episode. ``dataset=minari dataset.id=ID`` reads what was written, bit for bit and with its world.
"""

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id

from bench.__main__ import add_plugins, one_sentence
from bench.datasets import OfflineDataset, Task
from bench.files.minari import dataset_path
from bench.files.origin import KEY, collection_of, gymnasium_spec_of
from bench.sensing import Sensing
from bench.single import SingleRun, single_run
from bench.typed import ConfigError

FOLDER_VARIABLE = "MINARI_DATASETS_PATH"
USAGE = "The first word should be the id of the new dataset, as in cliff/mixed-v0"


def main() -> NoReturn:
    """Write the dataset, say where it is, and exit."""
    add_plugins()
    with one_sentence():
        dataset_id, run = _understood(sys.argv[1:])
        task, dataset = run.load()
        if len(dataset) == 0:
            raise ConfigError("Nothing is left to export: the degradation takes every transition.")
        path = write(dataset_id, run, task, dataset)
        print(
            f"{len(dataset):,} transitions in {int(dataset.successor_missing.sum()):,} episodes "
            f"are in {path}; `dataset=minari dataset.id={dataset_id} "
            f"dataset.discount={dataset.spec.discount:g}` reads them."
        )
    sys.exit(0)


def _understood(words: list[str]) -> tuple[str, SingleRun]:
    """Return the new dataset's id and the run whose data it will hold."""
    if not words or "=" in words[0]:
        raise ConfigError(f"{USAGE}.")
    dataset_id, *rest = words
    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise ConfigError(f"{USAGE}, and not {dataset_id!r}.") from None
    path = dataset_path(dataset_id)
    if path.exists():
        raise ConfigError(f"{path} exists already: remove it or choose another id.")
    run = single_run(rest, "bench.export")
    if run.config.dataset.sensing != Sensing():
        raise ConfigError(
            "bench.export writes whole observations: dataset.hidden and dataset.history are for "
            "whoever reads them."
        )
    return dataset_id, run


def write(dataset_id: str, run: SingleRun, task: Task, dataset: OfflineDataset) -> Path:
    """Write a dataset into Minari's folder and return where; it appears as a whole."""
    path = dataset_path(dataset_id)
    starts = np.flatnonzero(np.concatenate([[True], dataset.successor_missing[:-1]]))
    # Asked for first: meanwhile Minari's folder is another one.
    metadata = _metadata(run, task, dataset)
    with _draft(dataset_id, path), warnings.catch_warnings():
        # Minari asks for an author, an e-mail address and the like.
        warnings.simplefilter("ignore")
        written = minari.create_dataset_from_buffers(
            dataset_id,
            _episodes(dataset, starts),
            observation_space=_observation_space(dataset),
            action_space=_action_space(dataset),
            algorithm_name="behavior policy",
            description=f"Exported from {run.config.dataset.environment_name}.",
            requirements=[],
            data_format="hdf5",
            jpeg_encoding=False,
        )
        places = zip(dataset.episode[starts], dataset.step[starts], strict=True)
        written.storage.update_episode_metadata(
            {"episode": int(episode), "first_step": int(step)} for episode, step in places
        )
        written.storage.update_metadata(metadata)
    return path


def _episodes(dataset: OfflineDataset, starts: np.ndarray) -> Iterator[EpisodeBuffer]:
    terminated = dataset.terminated
    for start, stop in zip(starts, [*starts[1:], len(dataset)], strict=True):
        rows = slice(start, stop)
        following = dataset.rows("next_observation", slice(stop - 1, stop))
        truncated = np.zeros(stop - start, dtype=bool)
        truncated[-1] = not terminated[stop - 1]
        yield EpisodeBuffer(
            observations=np.concatenate([dataset.rows("observation", rows), following]),
            actions=dataset.rows("action", rows),
            rewards=dataset.rows("reward", rows),
            terminations=terminated[rows],
            truncations=truncated,
            infos={},
        )


def _observation_space(dataset: OfflineDataset) -> spaces.Space[Any]:
    size = dataset.spec.observation_size
    if dataset.spec.observation_kind == "discrete":
        return spaces.Discrete(size)
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def _action_space(dataset: OfflineDataset) -> spaces.Space[Any]:
    if dataset.spec.action_bounds is None:
        return spaces.Discrete(dataset.spec.num_actions)
    low, high = np.array(dataset.spec.action_bounds, dtype=np.float32)
    return spaces.Box(low, high, dtype=np.float32)


def _metadata(run: SingleRun, task: Task, dataset: OfflineDataset) -> dict[str, Any]:
    """Return what reading back needs of the world, and what was done to the data."""
    environment, source = task.environment, run.config.dataset.source
    exact = environment.mdp is not None
    metadata: dict[str, Any] = {
        KEY: {
            **collection_of(source, run.settings["dataset"]),
            "behavior": {
                "value": task.behavior_value,
                "discount": environment.spec.discount if exact else None,
            },
            "reference": dataset.provenance.get("reference", {}).get("source"),
            "degradations": dataset.provenance.get("degradations", []),
            "fingerprint": dataset.fingerprint,
        }
    }
    # Minari takes neither of the two without making the environment, which not everybody can.
    spec = gymnasium_spec_of(source)
    if spec is not None:
        metadata["env_spec"] = spec.to_json()
    low, high = environment.uniform, environment.optimum
    if not exact and low is not None and high is not None:
        metadata |= {"ref_min_score": low, "ref_max_score": high}
    return metadata


@contextmanager
def _draft(dataset_id: str, path: Path) -> Iterator[None]:
    """Let Minari write into a hidden folder and move the dataset to `path` once it is complete."""
    root, named = dataset_path(), os.environ.get(FOLDER_VARIABLE)
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=root, prefix=".draft-"))
    os.environ[FOLDER_VARIABLE] = str(draft)
    try:
        yield
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft / dataset_id, path)
    finally:
        del os.environ[FOLDER_VARIABLE]
        if named is not None:
            os.environ[FOLDER_VARIABLE] = named
        shutil.rmtree(draft, ignore_errors=True)


if __name__ == "__main__":
    main()
