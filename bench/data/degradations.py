"""Ways of lowering coverage on purpose: ``(dataset, severity, rng, *, settings) -> dataset``.

For one seed what is removed (or replaced, or altered) grows with severity: each function draws the
same order or region from `rng` whatever the severity and removes a longer prefix or a larger part
of it. Severity 0 removes nothing. Removing a transition ends the segment before it as a truncation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench import seeding
from bench.data import places
from bench.data.datasets import OfflineDataset
from bench.types import Count, Fraction


@dataclass(frozen=True)
class Degradation:
    """A degradation with its settings and severity: of a run, or a step of a composite one.

    Attributes:
        name: Names the random stream, so a step removes what it would remove alone.
        degrade: The function with its settings bound.
        severity: In [0, 1]; of a step, as a share of the whole's.
    """

    name: str
    degrade: Callable[[OfflineDataset, float, np.random.Generator], OfflineDataset]
    severity: Fraction

    def __call__(self, dataset: OfflineDataset, share: float = 1.0) -> OfflineDataset:
        """Return the degraded view."""
        seed = int(dataset.provenance["seed"])
        rng = seeding.numpy_generator("degrade", seed, self.name)
        return self.degrade(dataset, share * self.severity, rng)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings bound to the function, by name."""
        return getattr(self.degrade, "keywords", {})

    def parts(self) -> Iterator["Degradation"]:
        """Yield this degradation and all that it is made of."""
        yield self
        for value in self.settings.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Degradation):
                    yield from inner.parts()


def none(dataset: OfflineDataset, severity: float, rng: np.random.Generator) -> OfflineDataset:
    """Return the dataset as it is.

    Raises:
        ValueError: If the severity is above 0.
    """
    del rng
    if severity > 0:
        raise ValueError(f"coverage=none takes nothing away, so severity must be 0, not {severity}")
    return dataset


def thin(dataset: OfflineDataset, severity: float, rng: np.random.Generator) -> OfflineDataset:
    """Remove a share `severity` of the episodes in a random order; at least one stays."""
    episodes = np.unique(dataset.episode)
    removed = rng.permutation(episodes)[: min(share_of(severity, len(episodes)), len(episodes) - 1)]
    return dataset.keep(~np.isin(dataset.episode, removed), f"thin({severity})")


def truncate(dataset: OfflineDataset, severity: float, rng: np.random.Generator) -> OfflineDataset:
    """Cut every episode short by a share `severity` of its transitions; at least one stays."""
    del rng
    first, length = _positions(dataset)
    kept = length - np.minimum(np.floor(severity * length + 0.5), length - 1)
    return dataset.keep(np.arange(len(dataset)) - first < kept, f"truncate({severity})")


def best_returns(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator
) -> OfflineDataset:
    """Remove the share `severity` of the episodes with the highest returns; at least one stays.

    Episodes of equal return go in a random order.
    """
    episodes = np.unique(dataset.episode)
    shuffled = rng.permutation(len(episodes))
    order = shuffled[np.argsort(-dataset.episode_returns[shuffled], kind="stable")]
    removed = episodes[order][: min(share_of(severity, len(episodes)), len(episodes) - 1)]
    return dataset.keep(~np.isin(dataset.episode, removed), f"best_returns({severity})")


def quality(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    worse_epsilon: Fraction,
    worse_id: str | None,
) -> OfflineDataset:
    """Replace a share `severity` of the episodes, in a random order, by a worse policy's.

    As many transitions come as go, the last new episode aside, which stays whole. The worse policy
    is epsilon-greedy where data is collected here; files name another dataset of their kind.

    Raises:
        ValueError: If the source knows no such policy.
    """
    if dataset.reserve is None:
        raise ValueError("coverage=quality needs a source that can supply worse episodes")
    storage = dataset.reserve.extended(dataset.storage, worse_epsilon, worse_id)
    own = len(dataset.storage)
    episodes = np.unique(dataset.episode)
    removed = rng.permutation(episodes)[: share_of(severity, len(episodes))]
    kept = dataset.indices[~np.isin(dataset.episode, removed)]
    new = storage.episode[own:]
    ends = np.append(np.flatnonzero(np.diff(new, prepend=new[0] - 1)), len(new))
    added = ends[np.searchsorted(ends, len(dataset) - len(kept)).clip(max=len(ends) - 1)]
    indices = np.append(kept, np.arange(own, own + added))
    return dataset.with_storage(storage, indices, f"quality({severity})")


def rewards(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    kind: Literal["zero", "random", "negated"],
) -> OfflineDataset:
    """Alter the rewards of a share `severity` of the transitions, in a random order.

    A control, it removes nothing: a method that does as well with wrong rewards wins by something
    else, as by surviving (Li et al. 2023, arXiv 2306.03286). ``random`` rewards are uniform over
    the range of a step's reward and 0.
    """
    order = rng.permutation(len(dataset))
    spec = dataset.spec
    uniform = rng.uniform(min(0, spec.reward_min), max(0, spec.reward_max), len(dataset))
    wrong = {"zero": np.zeros(len(dataset)), "random": uniform, "negated": -dataset.reward}[kind]
    altered = np.zeros(len(dataset), dtype=bool)
    altered[order[: share_of(severity, len(dataset))]] = True
    name = f"rewards({kind}, {severity})"
    return dataset.with_rewards(np.where(altered, wrong, dataset.reward), name)


def region(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    shape: Literal["slab", "ball"],
    dimension: str | None,
) -> OfflineDataset:
    """Remove transitions by their state; the transition that enters the region stays.

    Tabular: a share `severity` of the visited states that no episode starts in, in a random order.
    Elsewhere a share `severity` of the transitions: a ``slab`` between two quantiles of the named
    dimension (the first one if None), or a ``ball`` around a random observation in standardised
    coordinates.

    Raises:
        ValueError: If the dimension is not one of the observation's.
    """
    name = f"region({severity})"
    if dataset.spec.observation_kind == "discrete":
        candidates = np.setdiff1d(dataset.observation, dataset.observation[dataset.initial])
        removed = rng.permutation(candidates)[: share_of(severity, len(candidates))]
        return dataset.keep(~np.isin(dataset.observation, removed), name)
    if shape == "slab":
        # The lower edge falls and the upper one rises with severity, so that slabs are nested.
        rank = _ranks(dataset.observation[:, _dimension(dataset, dimension)])
        lower = (1 - severity) * rng.random()
        return dataset.keep((rank < lower) | (rank >= lower + severity), name)
    standardized = places.standardize(dataset.observation)
    distance = np.linalg.norm(standardized - standardized[rng.integers(len(dataset))], axis=1)
    return dataset.keep(_ranks(distance) >= severity, name)


def actions(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator, *, num_cells: Count
) -> OfflineDataset:
    """Remove the comparator's action in a share `severity` of the cells, in a random order.

    Cells are the visited states of a tabular task, else `num_cells` k-means cells of the data.
    The comparator is the optimal policy, or the environment's reference policy. Of continuous
    actions those go that are no farther from the comparator's, in half ranges, than the nearer half
    of all the data's are: a radius that means the same in every world.

    Raises:
        ValueError: If no comparator is known.
    """
    if dataset.storage.comparator_action is None:
        raise ValueError("coverage=actions needs a comparator, which this dataset has not")
    if dataset.spec.observation_kind == "discrete":
        cell = dataset.observation
    else:
        cell = places.cells(dataset, num_cells, int(rng.integers(2**31)))
    cells = np.unique(cell)
    chosen = rng.permutation(cells)[: share_of(severity, len(cells))]
    removed = np.isin(cell, chosen) & places.as_comparator(dataset)
    return dataset.keep(~removed, f"actions({severity})")


def size_matched(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator, *, of: Degradation
) -> OfflineDataset:
    """Keep as many transitions as `of` would leave, at random, with the support undamaged.

    The control for every degradation that takes data and support away together. Of each visited
    (state, action) of a tabular task one transition stays, as long as there are so many to keep;
    then the most visited ones do. Elsewhere any transition may go. What is removed does not grow
    with severity where what `of` leaves does not.
    """
    size = len(of(dataset, severity))
    order = rng.permutation(len(dataset))
    if dataset.spec.observation_kind == "discrete":
        pair = dataset.observation * dataset.spec.num_actions + dataset.action
        _, cell, count = np.unique(pair, return_inverse=True, return_counts=True)
        _, first = np.unique(cell[order], return_index=True)
        # The first of each cell in the random order, the most visited cells before the others.
        rank = np.zeros(len(dataset))
        rank[first] = -count[cell[order[first]]]
        order = order[np.argsort(rank, kind="stable")]
    kept = np.zeros(len(dataset), dtype=bool)
    kept[order[:size]] = True
    return dataset.keep(kept, f"size_matched({of.name}, {severity})")


def composite(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    steps: tuple[Degradation, ...],
) -> OfflineDataset:
    """Apply several degradations, each with its own severity times `severity`.

    Steps that replace or alter (`quality`, `rewards`) go first, in the order given. The others all
    look at what those leave, and what any of them removes is removed; so their order does not
    matter, and together they remove more as severity grows (not so beside `quality`, since
    other episodes to look at make for other ones to remove).

    Raises:
        ValueError: If there are no steps.
    """
    del rng
    if not steps:
        raise ValueError("coverage.steps should name at least one degradation")
    removing = []
    for step in steps:
        degraded = step(dataset, severity)
        same_rewards = degraded.altered_reward is dataset.altered_reward
        if degraded.storage is dataset.storage and same_rewards:
            removing.append(step)
        else:
            dataset = degraded
    views = [step(dataset, severity) for step in removing]
    for step, view in zip(removing, views, strict=True):
        kept = np.isin(dataset.indices, view.indices)
        dataset = dataset.keep(kept, f"{step.name}({severity * step.severity})")
    return dataset


def _positions(dataset: OfflineDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return per transition where its episode begins in the view and how long it is there."""
    _, first, inverse, length = np.unique(
        dataset.episode, return_index=True, return_inverse=True, return_counts=True
    )
    return first[inverse], length[inverse]


def share_of(severity: float, count: int) -> int:
    """Return `severity` times `count`, rounded half up (monotone in severity)."""
    return int(np.floor(severity * count + 0.5))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value divided by their number, in [0, 1)."""
    rank = np.empty(len(values))
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank / len(values)


def _dimension(dataset: OfflineDataset, dimension: str | None) -> int:
    names = dataset.spec.observation_names
    if dimension is None:
        return 0
    if dimension not in names:
        raise ValueError(
            f"coverage.dimension is {dimension!r}, but must be one of {', '.join(names)}"
        )
    return names.index(dimension)
