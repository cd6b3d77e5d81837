"""Whether recorded steps are those that the world takes from the same observations."""

from typing import NamedTuple

import numpy as np

from bench.data.storage import Storage
from bench.worlds.exact import TabularMDP
from bench.worlds.simulators.settable import Settable

# Steps of a table that are looked up, and numbers in memory for it.
TABLE_ROWS, TABLE_NUMBERS = 100_000, 20_000_000
# How many steps, of pairs met again, tell how likely outcomes are, and the squared distance of
# their frequencies from the table's probabilities that only another world explains: which episodes
# were kept changes them less.
MET_AGAIN, APART = 100, 0.15
# Steps that are asked of a simulator: at random, and of those that are rare and decide most.
RANDOM_ROWS, TERMINAL_ROWS, EXTREME_ROWS = 400, 50, 25


class Strictness(NamedTuple):
    """How near recorded steps must be to the world's.

    Attributes:
        slack: In standard deviations of what a step changes, of an observation or a reward.
        share: Of the steps that must be as near.
    """

    slack: float
    share: float


# Tables and this machine's arithmetic leave nothing open; a physics engine changes with its
# version and forgets what its last step began from; another world is only near.
EXACT = Strictness(0.0, 1.0)
COMPUTED = Strictness(1e-3, 0.99)
PHYSICS = Strictness(0.1, 0.9)
STAND_IN = Strictness(0.5, 0.8)


class Compared(NamedTuple):
    """What came of comparing steps.

    Attributes:
        rows: How many were compared.
        disagreements: What is wrong with them.
        recorded: Their recorded rewards ``[n]``, where the rest agrees.
        world: The world's rewards ``[n]``.
        strictness: By which they are to be compared.
    """

    rows: int
    disagreements: list[str]
    recorded: np.ndarray
    world: np.ndarray
    strictness: Strictness


def by_table(storage: Storage, mdp: TabularMDP) -> Compared:
    """Return what a table says of recorded steps."""
    outcomes = mdp.probability.shape[-1]
    rows = _sample(storage, min(TABLE_ROWS, TABLE_NUMBERS // outcomes), EXTREME_ROWS)
    state, action, following = (
        getattr(storage, name)[rows] for name in ("observation", "action", "next_observation")
    )
    terminated, at = storage.terminated[rows], (state, action)
    possible = mdp.probability[at] > 0
    ends = mdp.terminated[at] == terminated[:, None]
    # Where a step that ends the episode leads is nowhere in a table.
    leads = terminated[:, None] | (mdp.next_state[at] == following[:, None])
    happens = possible & ends & leads
    wrong_ends = int((~(possible & ends).any(1)).sum())
    wrong = int((~happens.any(1)).sum()) - wrong_ends
    complaints = [_count(wrong, len(rows), "lead where the world does not")] if wrong else []
    if wrong_ends:
        complaints.append(_count(wrong_ends, len(rows), "end, or go on, as the world does not"))
    if not complaints:
        likely = np.where(happens, mdp.probability[at], 0.0).sum(1)
        if _apart(state, action, np.where(terminated, -1, following), likely) > APART:
            complaints.append("recorded steps lead to what is rare in the world, far too often")
    reward = mdp.reward[at]
    first = np.take_along_axis(reward, happens.argmax(1)[:, None], 1)
    # Where outcomes that look alike have several rewards, none of them is the right one.
    single = happens.any(1) & np.where(happens, reward == first, True).all(1)
    return Compared(len(rows), complaints, storage.reward[rows][single], first[single, 0], EXACT)


def _apart(
    state: np.ndarray, action: np.ndarray, following: np.ndarray, likely: np.ndarray
) -> float:
    """Return how far frequencies of outcomes are from their probabilities, squared; 0 if too few.

    `likely` is how likely each row's outcome is ``[n]``. The mean over pairs of state and action,
    by visits; luck alone makes it 0 in expectation, or less, since what never happened is left out.
    """
    outcome, index, count = np.unique(
        np.stack([state, action, following], axis=1), axis=0, return_index=True, return_counts=True
    )
    starts = np.flatnonzero(np.r_[True, (np.diff(outcome[:, :2], axis=0) != 0).any(1)])
    visits = np.add.reduceat(count, starts)
    again = visits > 1
    if visits[again].sum() < MET_AGAIN:
        return 0.0
    others = np.repeat(np.maximum(visits - 1, 1), np.diff(np.r_[starts, len(outcome)]))
    share, probability = count / (others + 1), likely[index]
    squares = share * (count - 1) / others - 2 * share * probability + probability**2
    apart = np.add.reduceat(squares, starts)
    return float(np.average(apart[again], weights=visits[again]))


def by_simulator(
    storage: Storage, world: Settable, strictness: Strictness, terminal_successors: bool
) -> Compared:
    """Return what a simulator says of recorded steps.

    `terminal_successors` says whether it was recorded where steps that end an episode lead.

    Raises:
        ValueError: If it cannot say anything of them.
    """
    rows = _sample(storage, RANDOM_ROWS, EXTREME_ROWS, TERMINAL_ROWS)
    rows = rows[world.known(storage.observation[rows])]
    if len(rows) == 0:
        raise ValueError("no recorded observation tells the whole state")
    observation, following = (
        getattr(storage, name)[rows][:, : world.seen].astype(np.float64)
        for name in ("observation", "next_observation")
    )
    answers = world.answers(storage.observation[rows], storage.action[rows])
    terminated = storage.terminated[rows]
    led = np.ones(len(rows), dtype=bool) if terminal_successors else ~terminated
    moved = (following - observation)[led].std(0) if led.any() else np.zeros(world.seen)
    rounding = np.finfo(np.float32).eps * 100 * np.abs(observation).max(0)
    near = np.abs(answers.next_observation - following) <= strictness.slack * moved + rounding
    agrees = near.all(1) | ~led
    complaints = []
    allowed = (1 - strictness.share) * len(rows)
    if (wrong := int((~agrees).sum())) > allowed:
        complaints.append(_count(wrong, len(rows), "lead where the world does not"))
    else:
        ends = answers.terminated == terminated
        if (wrong := int((~ends).sum())) > allowed:
            complaints.append(_count(wrong, len(rows), "end, or go on, as the world does not"))
    return Compared(
        len(rows), complaints, storage.reward[rows][agrees], answers.reward[agrees], strictness
    )


def _sample(storage: Storage, size: int, extreme: int, terminal: int = 0) -> np.ndarray:
    """Return rows: at random, with the highest and lowest rewards, and where episodes end."""
    rng = np.random.default_rng(0)
    count = len(storage)
    chosen = [rng.choice(count, min(size, count), replace=False)]
    reward = np.asarray(storage.reward)
    if extreme < count:
        chosen += [np.argpartition(reward, extreme)[:extreme]]
        chosen += [np.argpartition(-reward, extreme)[:extreme]]
    ended = np.flatnonzero(storage.terminated)
    chosen += [rng.choice(ended, min(terminal, len(ended)), replace=False)]
    return np.unique(np.concatenate(chosen))


def _count(wrong: int, rows: int, what: str) -> str:
    return f"{wrong:,} of {rows:,} recorded steps {what}"
