"""Replay: the data of a cohort in one place, and the minibatches its runs draw from it.

Storage is the concatenation of the distinct sources, so runs that share a source share memory; a
run holds positions only. Each run draws from its own generator, below its own size, so it draws
the same minibatches alone and in any cohort. A draw is a uniform number times the size: runs of
one seed whose data differ in size draw alike (common random numbers).
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder
from bench.data.summary import NUM_INITIAL
from bench.types import Batch

# Draws are made this many updates at a time, whatever the evaluation interval.
DRAWS_AHEAD = 64


class Replay:
    """Minibatches ``[run, batch, ...]`` for the runs of a cohort."""

    def __init__(
        self,
        datasets: list[OfflineDataset],
        seeds: list[int],
        encoder: Encoder,
        initial_observations: Tensor,
        batch_size: int | Literal["full"],
        num_minibatches: int,
        device: torch.device,
    ):
        """Take the data of each run; `initial_observations` are ``[run, 256, size]``, encoded."""
        self.encoder, self.initial_observations, self.device = encoder, initial_observations, device
        self.num_minibatches = num_minibatches
        sources = list({id(d.storage): d.storage for d in datasets}.values())
        first_row = dict(
            zip(map(id, sources), np.cumsum([0, *map(len, sources)]).tolist(), strict=False)
        )
        self.columns = {
            name: _joined([getattr(source, name) for source in sources]).to(device, dtype)
            for name, dtype in _dtypes(datasets[0]).items()
        }
        # A degradation may alter rewards, so each run has its own.
        self.run_columns = {
            name: torch.as_tensor(np.concatenate([getattr(d, name) for d in datasets])).to(
                device, torch.float32
            )
            for name in ("reward", "episode_return")
        }
        self.sizes = [len(dataset) for dataset in datasets]
        rows = [first_row[id(dataset.storage)] + dataset.indices for dataset in datasets]
        self.rows = torch.as_tensor(np.concatenate(rows)).to(device)
        self.first = torch.as_tensor(np.cumsum([0, *self.sizes[:-1]])).to(device)[:, None]
        self.generators = [seeding.torch_generator("minibatch", seed) for seed in seeds]
        self.batch_size = max(self.sizes) if batch_size == "full" else batch_size
        self.fixed = self._full_batch() if batch_size == "full" else None
        # Not made anew at every update: on a GPU that would wait for the copy each time.
        self.size = torch.tensor(self.sizes, device=device, dtype=torch.float64)[:, None]
        self.drawn: Tensor | None = None
        self.drawn_from = [generator.get_state() for generator in self.generators]
        self.position = 0

    def next(self) -> Batch | None:
        """Return the next minibatch of every run; None if the algorithm asks for none."""
        if self.num_minibatches == 0:
            return None
        if self.fixed is not None:
            return self.fixed
        if self.drawn is None or self.position == DRAWS_AHEAD:
            self.drawn_from = [generator.get_state() for generator in self.generators]
            self.drawn, self.position = self._draw(), 0
        uniform = self.drawn[:, self.position]
        self.position += 1
        half = uniform.shape[1] // 2
        at = (uniform[:, :half] * self.size).long()
        positions = self.first + torch.minimum(at, self.size.long() - 1)
        weight = torch.ones(positions.shape, device=self.device)
        return self._gather(positions, weight, uniform[:, half:])

    def snapshot(self) -> dict[str, Any]:
        """Return where the draws are: what the last ones were made from and how many are used."""
        return {"drawn_from": self.drawn_from, "position": self.position}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        self.drawn_from, self.position = saved["drawn_from"], saved["position"]
        for generator, state in zip(self.generators, self.drawn_from, strict=True):
            generator.set_state(state)
        self.drawn = self._draw() if self.position else None

    def _draw(self) -> Tensor:
        """Return the next uniform numbers ``[run, updates, 2 * minibatches * batch]``."""
        shape = (DRAWS_AHEAD, 2 * self.num_minibatches * self.batch_size)
        draws = [torch.rand(shape, generator=g, dtype=torch.float64) for g in self.generators]
        return torch.stack(draws).to(self.device)

    def _gather(self, positions: Tensor, weight: Tensor, initial: Tensor) -> Batch:
        """Return the batch at positions of `rows` ``[run, n]`` and uniform draws ``[run, n]``."""
        rows = self.rows[positions]
        columns = {name: column[rows] for name, column in self.columns.items()}
        columns |= {name: column[positions] for name, column in self.run_columns.items()}
        pick = (initial * self.initial_observations.shape[1]).long()
        run = torch.arange(len(pick), device=self.device)[:, None]
        columns["observation"] = self.encoder(columns["observation"])
        columns["next_observation"] = self.encoder(columns["next_observation"])
        batch = Batch(
            **columns, weight=weight, initial_observation=self.initial_observations[run, pick]
        )
        if self.num_minibatches == 1:
            return batch
        # [run, minibatches * batch, ...] -> [run, minibatches, batch, ...]
        return Batch(*(x.unflatten(1, (self.num_minibatches, self.batch_size)) for x in batch))

    def _full_batch(self) -> Batch:
        """Return all transitions of every run, padded to the longest with weight 0."""
        position = torch.arange(self.batch_size, device=self.device)
        size = torch.tensor(self.sizes, device=self.device)[:, None]
        weight = (position < size).float()
        positions = self.first + torch.minimum(position.expand(len(size), -1), size - 1)
        # In turn, so that what a run gets does not depend on the padding beside it.
        initial = ((position % NUM_INITIAL + 0.5) / NUM_INITIAL).expand(len(size), -1)
        repeat = (1, self.num_minibatches)
        return self._gather(positions.repeat(repeat), weight.repeat(repeat), initial.repeat(repeat))


def _joined(columns: list[np.ndarray]) -> Tensor:
    """Return the concatenation; a single column is not copied, it may be larger than memory."""
    return torch.as_tensor(columns[0] if len(columns) == 1 else np.concatenate(columns))


def _dtypes(dataset: OfflineDataset) -> dict[str, torch.dtype]:
    """Return the columns that runs of one source share, and what they are stored as."""
    discrete = dataset.spec.observation_kind == "discrete"
    return {
        "observation": torch.int64 if discrete else torch.float32,
        "action": torch.int64 if dataset.spec.action_kind == "discrete" else torch.float32,
        "next_observation": torch.int64 if discrete else torch.float32,
        "terminated": torch.float32,
    }
