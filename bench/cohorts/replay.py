"""Replay: the data of a cohort in one place, and the minibatches its runs draw from it.

Storage is the concatenation of the distinct sources, so runs that share a source share memory; a
run holds positions only. Continuous actions are brought to [-1, 1] once, here alone. What is drawn
for an update is a function of the run's seed, the stream and the update alone
(bench/cohorts/draws.py): a run draws the same minibatches alone and in any cohort, and what one
field needs is not shifted by whether another is asked for.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.cohorts.draws import Draws, Stream, scaled
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder
from bench.data.summary import NUM_INITIAL
from bench.data.units import in_units
from bench.types import Batch
from bench.worlds.spaces import to_unit

VECTORS = ("observation", "next_observation")
# Fields that a minibatch has without looking at any transition.
ROWLESS = ("weight", "initial_observation")
# What depends on what else a run's data holds, not on the row of a source alone.
OF_RUN = ("followed",)

# Rows are kept once where that leaves so many times fewer of them.
FEWER = 4

Fields = dict[str, Tensor]


class Feed(NamedTuple):
    """What minibatches are made of, the same at every update.

    Attributes:
        size: ``[run, 1]``, transitions of each run.
        first: ``[run, 1]``, where its part of `rows` begins.
        seed: ``[run]``, which of the distinct seeds it has.
        rows: ``[all runs' transitions]``, which row of the packs each is.
        packs: ``[rows, width]`` each, columns side by side.
        mean: ``[run, 1, dim]``, subtracted from vectors; None where there are none.
        scale: Likewise, what they are divided by.
        initial: ``[run, 256, (dim)]``, encoded initial observations; None where not asked for.
        followed: ``[all runs' transitions]``, whether the run's data goes on; None likewise.
    """

    size: Tensor
    first: Tensor
    seed: Tensor
    rows: Tensor
    packs: tuple[Tensor, ...]
    mean: Tensor | None
    scale: Tensor | None
    initial: Tensor | None
    followed: Tensor | None


class _Packed(NamedTuple):
    """Columns side by side by type.

    Attributes:
        groups: The columns of each pack.
        packs: ``[rows, width]`` each.
        rows: ``[all runs' transitions]``, which row of the packs each is.
    """

    groups: list[list[str]]
    packs: tuple[Tensor, ...]
    rows: Tensor


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
        """Take the data of each run; `initial_observations` are ``[run, 256, (dim)]``, encoded."""
        self.encoder, self.initial_observations, self.device = encoder, initial_observations, device
        self.num_minibatches, self.datasets = num_minibatches, datasets
        self.sources = list({_source(d): d for d in datasets}.values())
        lengths = [len(source.storage) for source in self.sources]
        starts = np.cumsum([0, *lengths]).tolist()
        first_row = dict(zip(map(_source, self.sources), starts, strict=False))
        self.sizes = [len(dataset) for dataset in datasets]
        self.full = batch_size == "full"
        self.batch_size = max(self.sizes) if batch_size == "full" else batch_size
        rows = np.concatenate([first_row[_source(d)] + d.indices for d in datasets])
        small = torch.int32 if sum(lengths) < 2**31 else torch.int64
        self.rows = torch.as_tensor(rows).to(device, small)
        self.first = torch.as_tensor(np.cumsum([0, *self.sizes[:-1]])).to(device)[:, None]
        self.size = torch.tensor(self.sizes, device=device)[:, None]
        self.draws = Draws(seeds, num_minibatches * self.batch_size, device)
        self._packs: dict[tuple[str, ...], _Packed] = {}

    @cached_property
    def followed(self) -> Tensor:
        """Where the data of a run holds the next step too ``[all runs' transitions]``."""
        missing = np.concatenate([dataset.successor_missing for dataset in self.datasets])
        return torch.as_tensor(~missing).to(self.device)

    def batch(self, step: int) -> Batch | None:
        """Return the minibatch of every run at an update, counted from 0; None if none is asked."""
        if self.num_minibatches == 0:
            return None
        every = Batch._fields
        return Batch(**self.fields(every, self.feed(every), self.drawn(every, step)))

    def feed(self, names: tuple[str, ...]) -> Feed | Fields:
        """Return what the named fields are made of; full batches are made already."""
        if self.full:
            return self._full_batch(names)
        return self._feed(names)

    def drawn(self, names: tuple[str, ...], step: int) -> Fields:
        """Return the numbers ``[seed, minibatches * batch]`` that an update's fields need."""
        if self.full:
            return {}
        streams: list[Stream] = ["initial"] if "initial_observation" in names else []
        streams += ["row"] if set(names) - set(ROWLESS) else []
        return {stream: self.draws.at(stream, step) for stream in streams}

    def fields(self, names: tuple[str, ...], feed: Feed | Fields, drawn: Fields) -> Fields:
        """Return the named fields of a minibatch ``[run, (minibatches), batch, ...]``.

        Nothing but operations on tensors that are given, so that it can be traced.
        """
        if isinstance(feed, dict):
            return feed
        count = self.num_minibatches * self.batch_size
        found: Fields = {}
        if "row" in drawn:
            found = self._of_rows(
                names, feed, feed.first + scaled(drawn["row"], feed.seed, feed.size)
            )
        if "weight" in names:
            found["weight"] = torch.ones(len(feed.size), count, device=feed.size.device)
        if feed.initial is not None:
            at = scaled(drawn["initial"], feed.seed, NUM_INITIAL)
            found["initial_observation"] = _taken(feed.initial, at)
        if self.num_minibatches > 1:
            # [run, minibatches * batch, ...] -> [run, minibatches, batch, ...]
            shape = (self.num_minibatches, self.batch_size)
            found = {name: field.unflatten(1, shape) for name, field in found.items()}
        return found

    def _feed(self, names: tuple[str, ...]) -> Feed:
        standardised = self.encoder.standardises and bool(set(VECTORS) & set(names))
        packed = self._packed(names)
        return Feed(
            self.size,
            self.first,
            self.draws.of_run,
            packed.rows,
            packed.packs,
            self.encoder.mean.unsqueeze(1) if standardised else None,
            self.encoder.scale.unsqueeze(1) if standardised else None,
            self.initial_observations if "initial_observation" in names else None,
            self.followed if "followed" in names else None,
        )

    def _of_rows(self, names: tuple[str, ...], feed: Feed, positions: Tensor) -> Fields:
        """Return the columns at positions of `rows` ``[run, n]``."""
        found: Fields = {}
        row = feed.rows.index_select(0, positions.flatten())
        for group, pack in zip(self._packed(names).groups, feed.packs, strict=True):
            picked = pack.index_select(0, row).unflatten(0, positions.shape)
            start = 0
            for name in group:
                width = self._width(name)
                found[name] = picked[..., start : start + width] if width else picked[..., start]
                start += width or 1
        if feed.followed is not None:
            going_on = feed.followed.index_select(0, positions.flatten())
            found["followed"] = going_on.unflatten(0, positions.shape).float()
        if feed.mean is not None and feed.scale is not None:
            for name in sorted(set(VECTORS) & found.keys()):
                found[name] = (found[name] - feed.mean) / feed.scale
        return found

    def _width(self, name: str) -> int:
        """Return the length of a column's rows, 0 for single numbers."""
        column = getattr(self.sources[0], "action" if name == "next_action" else name)
        return column.shape[1] if column.ndim > 1 else 0

    def _packed(self, names: tuple[str, ...]) -> "_Packed":
        """Return the columns that named fields need, side by side by type."""
        if names not in self._packs:
            others = {*ROWLESS, *OF_RUN}
            columns = {name: self.column(name) for name in names if name not in others}
            groups: dict[Any, list[str]] = {}
            for name, column in columns.items():
                groups.setdefault(name if self._mapped(name) else column.dtype, []).append(name)
            wide = {n: c if c.dim() > 1 else c.unsqueeze(1) for n, c in columns.items()}
            packs = tuple(
                wide[group[0]] if len(group) == 1 else torch.cat([wide[n] for n in group], 1)
                for group in groups.values()
            )
            rows = self.rows
            # Vectors are never twice the same.
            if columns and not any(self._width(n) or self._mapped(n) for n in columns):
                packs, which = _distinct(packs)
                rows = which.to(rows).index_select(0, rows)
            packs = tuple(pack.to(self.device) for pack in packs)
            self._packs[names] = _Packed(list(groups.values()), packs, rows)
        return self._packs[names]

    def column(self, name: str) -> Tensor:
        """Return a column of all sources, in this machine's memory.

        A single one is not copied: it may exceed memory.
        """
        parts = [_whole(source, name) for source in self.sources]
        joined = torch.as_tensor(parts[0] if len(parts) == 1 else np.concatenate(parts))
        whole = joined.dtype in (torch.int64, torch.int32)
        return joined.to(torch.int64 if whole else torch.float32)

    def _mapped(self, name: str) -> bool:
        """Return whether a column is a mapped file, of which packing would make a copy."""
        (whole, *others) = (_whole(source, name) for source in self.sources)
        return not others and isinstance(whole.base, np.memmap)

    def _full_batch(self, names: tuple[str, ...]) -> Fields:
        """Return all transitions of every run, padded to the longest with weight 0."""
        position = torch.arange(self.batch_size, device=self.device)
        at = torch.minimum(position.expand(len(self.size), -1), self.size - 1)
        found = self._of_rows(names, self._feed(names), self.first + at)
        found["weight"] = (position < self.size).float()
        if "initial_observation" in names:
            # In turn, so that what a run gets does not depend on the padding beside it.
            turn = (position % NUM_INITIAL).expand(len(self.size), -1)
            found["initial_observation"] = _taken(self.initial_observations, turn)
        if self.num_minibatches > 1:
            found = {
                name: torch.stack([field] * self.num_minibatches, 1)
                for name, field in found.items()
            }
        return found


def _distinct(packs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return rows that are equal in every bit once, and which of them each was ``[rows]``.

    Of a table's 100,000 transitions some hundreds differ: those stay in a processor's cache. Where
    most differ, all are returned as they are.
    """
    bits = [np.ascontiguousarray(pack.numpy()).view(np.uint8) for pack in packs]
    joined = np.ascontiguousarray(np.concatenate(bits, axis=1))
    whole = joined.view(np.dtype((np.void, joined.shape[1])))[:, 0]
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    if len(first) > len(whole) // FEWER:
        return packs, torch.arange(len(whole))
    return tuple(pack[torch.as_tensor(first)] for pack in packs), torch.as_tensor(which)


def _source(dataset: OfflineDataset) -> tuple[int, int]:
    """Return what tells sources apart: a degradation may have altered rewards."""
    return id(dataset.storage), id(dataset.altered_reward)


def _whole(dataset: OfflineDataset, name: str) -> np.ndarray:
    """Return a column of the whole source, as learners get it but for observations."""
    everything = replace(dataset, indices=np.arange(len(dataset.storage)))
    if name == "episode_return":
        return in_units(everything.episode_return, dataset.spec).astype(np.float32)
    if name == "next_action":
        return np.roll(_whole(dataset, "action"), -1, axis=0)
    column = everything.rows(name, slice(None))
    if name == "reward":
        return in_units(column, dataset.spec)
    bounds = dataset.spec.action_bounds
    if name == "action" and bounds is not None:
        # A file may hold actions outside of the bounds, which no policy of a learner can take.
        return np.clip(to_unit(column, bounds), -1, 1).astype(np.float32)
    return column


def _taken(values: Tensor, at: Tensor) -> Tensor:
    """Return ``values[run, at[run]]`` of ``[run, n, ...]``, ``[run, count, ...]``."""
    runs, count = values.shape[:2]
    first = torch.arange(runs, device=values.device)[:, None] * count
    flat = values.flatten(0, 1).index_select(0, (first + at).flatten())
    return flat.unflatten(0, at.shape)
