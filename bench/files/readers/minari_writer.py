"""Any dataset here as a Minari dataset, each segment an episode."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.files.minari import dataset_path
from bench.files.origin import KEY, collection_of, gymnasium_spec_of
from bench.settings.single import SingleRun

FOLDER_VARIABLE = "MINARI_DATASETS_PATH"


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
        places = {"episode": dataset.episode[starts], "first_step": dataset.step[starts]}
        if dataset.storage.patient is not None:
            places["patient"] = dataset.rows("patient", starts)
        written.storage.update_episode_metadata(
            dict(zip(places, map(int, place), strict=True))
            for place in zip(*places.values(), strict=True)
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
