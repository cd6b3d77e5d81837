"""All that crosses between the harness and the algorithms; imports nothing of this project.

Shapes: ``batch`` is the number of transitions in a minibatch. Algorithms see no run axis.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

# Ranges of settings, checked once when a configuration is read (bench/typed.py).
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveFraction = Annotated[float, Gt(0), Le(1)]
Discount = Annotated[float, Ge(0), Lt(1)]
# Nothing is certain.
Confidence = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
# The fastest update there is takes some 10 microseconds: more of them take hours at least.
Updates = Annotated[int, Ge(1), Le(10**9)]
Seed = Annotated[int, Ge(0), Lt(2**63)]

ActionKind = Literal["discrete", "continuous"]
# What settings are chosen by: numbered actions in tables of numbered states or on vectors, or
# continuous actions, in this project's own worlds or in simulators and files of others.
WorldKind = Literal["table", "vector", "continuous", "mujoco"]


@dataclass(frozen=True)
class EnvSpec:
    """What the world is, known without any data.

    Attributes:
        name: The environment's name in records and figures.
        observation_kind: ``discrete`` states reach algorithms by their number, an int64 index;
            ``vector`` observations standardised, in float32.
        observation_size: Number of states, or length of the observation vector.
        num_actions: Number of discrete actions; 0 where actions are continuous.
        discount: Discount factor that defines value for evaluation.
        horizon: Step limit of an episode, in collection and evaluation.
        reward_min: Smallest reward of a single step.
        reward_max: Largest reward of a single step.
        v_min: Lower bound of any policy's discounted return, from the range of rewards (and from
            whether they come only with the end of an episode), never from data.
        v_max: Upper bound of the same.
        observation_names: Names of a vector observation's dimensions.
        action_bounds: Lowest and highest value of each dimension of a continuous action; None
            where actions are discrete.
        uniform_regret: Value of the optimal policy (or of the reference that counts as such) minus
            the uniform policy's, by which regrets are normalised and rewards can be scaled; None
            where nobody says: only worlds with continuous actions do.
        uniform_value: The uniform policy's value, or None, likewise.
    """

    name: str
    observation_kind: Literal["discrete", "vector"]
    observation_size: int
    num_actions: int
    discount: float
    horizon: int
    reward_min: float
    reward_max: float
    v_min: float
    v_max: float
    observation_names: tuple[str, ...] = ()
    action_bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    uniform_regret: float | None = None
    uniform_value: float | None = None

    @property
    def action_kind(self) -> ActionKind:
        """Whether actions are numbered or vectors."""
        return "discrete" if self.action_bounds is None else "continuous"

    @property
    def action_size(self) -> int:
        """Length of a continuous action, 0 where actions are numbered."""
        return 0 if self.action_bounds is None else len(self.action_bounds[0])


class Batch(NamedTuple):
    """One minibatch of one run; with several minibatches every field gains a leading axis.

    Observations are ``[batch]`` int64 where states are numbered, else float32 vectors
    ``[batch, observation_size]``; `algorithms.networks.apply` takes either.

    Attributes:
        observation: Where the action was taken.
        action: ``[batch]``, integers; or ``[batch, action_size]`` float32 in [-1, 1], where the
            bounds of a continuous action are -1 and 1, and one outside of them is the nearest
            within.
        reward: ``[batch]``.
        next_observation: Where it led, encoded likewise.
        terminated: ``[batch]``, 1.0 where the bootstrap stops; a time limit or a cut is 0.0.
        weight: ``[batch]``, 0.0 for padding; every mean over the batch is a weighted mean.
        episode_return: ``[batch]``, undiscounted return of the whole episode, cut parts included.
        initial_observation: Drawn from the initial observations, encoded likewise.
        next_action: The action that the data takes at `next_observation`, like `action`; without
            meaning where `followed` is 0.
        followed: ``[batch]``, 1.0 where the run's data holds the next step of the same episode: not
            at its end, terminated or not, and not where a degradation has taken that step.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor
    weight: Tensor
    episode_return: Tensor
    initial_observation: Tensor
    next_action: Tensor
    followed: Tensor


class TabularStatistics(NamedTuple):
    """Sufficient statistics of a tabular dataset, of what was visited alone.

    A transition that went on is counted where it led from one pair of state and action to one
    successor; there are as many such as the data has different ones, then padding that counts 0.

    Attributes:
        pair: ``[different]``, ``state * actions + action``.
        successor: ``[different]``, the state that it led to.
        number: ``[different]``, how often it did.
        rewards: ``[different]``, sum of the rewards of these.
        termination_counts: ``[states, actions]``, transitions that terminated.
        reward_sums: ``[states, actions]``.
    """

    pair: Tensor
    successor: Tensor
    number: Tensor
    rewards: Tensor
    termination_counts: Tensor
    reward_sums: Tensor

    @property
    def visits(self) -> Tensor:
        """Transitions at each pair ``[states, actions]``."""
        return self.by_pair(self.number) + self.termination_counts

    @property
    def successor_counts(self) -> Tensor:
        """Transitions that went on ``[states, actions, states]``: large where states are many."""
        return self._dense(self.number)

    @property
    def successor_reward_sums(self) -> Tensor:
        """Their rewards, likewise."""
        return self._dense(self.rewards)

    def by_pair(self, values: Tensor) -> Tensor:
        """Return the sums ``[states, actions]`` of numbers ``[different]``."""
        like = self.termination_counts
        zeros = torch.zeros(like.numel(), dtype=values.dtype, device=values.device)
        return zeros.scatter_add(0, self.pair, values).reshape(like.shape)

    def _dense(self, values: Tensor) -> Tensor:
        states, actions = self.termination_counts.shape
        size = states * actions * states
        zeros = torch.zeros(size, dtype=values.dtype, device=values.device)
        place = self.pair * states + self.successor
        return zeros.scatter_add(0, place, values).reshape(states, actions, states)


class DataSummary(NamedTuple):
    """What a run may know of its own data beyond a minibatch, in shapes that stack.

    Attributes:
        num_transitions: ``[]``.
        initial_observations: ``[256]`` states or ``[256, observation_size]`` vectors, encoded as
            in a batch, sampled with replacement.
        observation_mean: ``[observation_size]``, before standardising; of numbered states the
            share of each.
        observation_std: ``[observation_size]``, likewise.
        bandwidth: ``[]``, median distance between distinct encoded observations; numbered states
            count as sqrt(2) apart, like unit vectors.
        return_quantiles: ``[101]``, entry p is what the best 100 - p percent of episodes reach.
        tabular: Counts of numbered states, for learners that need them (`tabular_only`), else None.
            A learner whose class says ``dense_counts = False`` makes no table of successors of
            them, and is not refused where that would have no room; ``dense_states = True`` that
            it makes one of states by states.
    """

    num_transitions: Tensor
    initial_observations: Tensor
    observation_mean: Tensor
    observation_std: Tensor
    bandwidth: Tensor
    return_quantiles: Tensor
    tabular: TabularStatistics | None
