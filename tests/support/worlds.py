"""Small MDPs and datasets for the tests, and slow, obvious ways to compute their values."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np

from bench.data.collected import Collected
from bench.data.datasets import OfflineDataset
from bench.data.sources import DataSource, Task
from bench.data.storage import Storage
from bench.types import EnvSpec
from bench.worlds.base import Environment
from bench.worlds.cartpole import CartPole
from bench.worlds.exact import TabularMDP
from bench.worlds.mdps import Cliff


def random_mdp(
    seed: int,
    num_states: int = 3,
    num_actions: int = 2,
    num_outcomes: int = 3,
    end_probability: float = 0.2,
) -> TabularMDP:
    """Return an MDP with rewards of both signs, ends, and successors that occur twice."""
    rng = np.random.default_rng(seed)
    shape = (num_states, num_actions, num_outcomes)
    initial = rng.random(num_states)
    return TabularMDP(
        probability=rng.dirichlet(np.ones(num_outcomes), size=shape[:2]),
        next_state=rng.integers(num_states, size=shape),
        reward=rng.normal(size=shape),
        terminated=rng.random(shape) < end_probability,
        initial=initial / initial.sum(),
    )


def all_policies(num_states: int, num_actions: int) -> Iterator[np.ndarray]:
    """Yield every deterministic policy ``[states, actions]``."""
    for actions in itertools.product(range(num_actions), repeat=num_states):
        yield np.eye(num_actions)[list(actions)]


def random_policy(seed: int, num_states: int, num_actions: int) -> np.ndarray:
    """Return a stochastic policy ``[states, actions]``."""
    return np.random.default_rng(seed).dirichlet(np.ones(num_actions), size=num_states)


def slow_values(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return ``V[states]``: the reward expected after t steps, discounted and summed over t."""
    transition, reward = slow_chain(mdp, policy)
    value, weight = np.zeros(mdp.num_states), 1.0
    while weight > 1e-15:
        value += weight * reward
        reward, weight = transition @ reward, weight * discount
    return value


def slow_occupancy(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return the discounted sum over t of ``P(s_t = s, a_t = a)``, times one minus discount."""
    transition, _ = slow_chain(mdp, policy)
    total, weight, state = np.zeros(policy.shape), 1 - discount, mdp.initial
    while weight > 1e-15:
        total += weight * state[:, None] * policy
        state, weight = state @ transition, weight * discount
    return total


def slow_chain(mdp: TabularMDP, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``P[s, s']`` of going on and the mean reward ``[s]``, outcome by outcome."""
    transition, reward = np.zeros((mdp.num_states, mdp.num_states)), np.zeros(mdp.num_states)
    for s, a, k in np.ndindex(mdp.probability.shape):
        likely = policy[s, a] * mdp.probability[s, a, k]
        reward[s] += likely * mdp.reward[s, a, k]
        if not mdp.terminated[s, a, k]:
            transition[s, mdp.next_state[s, a, k]] += likely
    return transition, reward


def tabular_dataset(
    *episodes: tuple[list[int], list[int], bool],
    num_states: int = 6,
    num_actions: int = 3,
    comparator: int = 0,
) -> OfflineDataset:
    """Return the view of episodes given as (states, actions, terminated).

    An episode has one state more than actions. The reward is the action's number, the comparator
    always takes the same action.
    """
    rows = [
        (states[t], action, states[t + 1], ends and t == len(actions) - 1, episode, t)
        for episode, (states, actions, ends) in enumerate(episodes)
        for t, action in enumerate(actions)
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    observation, action, next_observation, terminated, episode, step = columns
    storage = Storage(
        observation=observation,
        action=action,
        reward=action.astype(float),
        next_observation=next_observation,
        terminated=terminated.astype(bool),
        episode=episode,
        step=step,
        comparator_action=np.full(len(action), comparator),
    )
    return OfflineDataset.full(storage, tabular_spec(num_states, num_actions), {"seed": 0})


def tabular_spec(num_states: int, num_actions: int) -> EnvSpec:
    """Return the spec of a tabular world."""
    return EnvSpec("toy", "discrete", num_states, num_actions, 0.9, 50, 0.0, 1.0, 0.0, 10.0)


def random_tabular_dataset(seed: int) -> OfflineDataset:
    """Return a few random walks of random length; about half of them end in termination."""
    rng = np.random.default_rng(seed)
    episodes = []
    for _ in range(rng.integers(2, 9)):
        length = int(rng.integers(1, 12))
        states = [int(rng.integers(2)), *rng.integers(6, size=length).tolist()]
        episodes.append((states, rng.integers(3, size=length).tolist(), bool(rng.random() < 0.5)))
    return tabular_dataset(*episodes)


def vector_dataset(
    observations: np.ndarray, actions: np.ndarray, lengths: list[int], comparator: np.ndarray
) -> OfflineDataset:
    """Return episodes over given observations ``[n + episodes, 2]``; odd ones terminate."""
    starts = np.cumsum([0, *(length + 1 for length in lengths)])
    at = np.concatenate([s + np.arange(k) for s, k in zip(starts[:-1], lengths, strict=True)])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    last = np.append(episode[1:] != episode[:-1], True)
    storage = Storage(
        observation=observations[at].astype(np.float32),
        action=actions,
        reward=np.ones(len(at)),
        next_observation=observations[at + 1].astype(np.float32),
        terminated=last & (episode % 2 == 1),
        episode=episode,
        step=np.concatenate([np.arange(k) for k in lengths]),
        comparator_action=comparator,
    )
    spec = EnvSpec("toy", "vector", 2, 2, 0.9, 50, 0.0, 1.0, 0.0, 10.0, ("height", "speed"))
    return OfflineDataset.full(storage, spec, {"seed": 0})


def random_vector_dataset(seed: int) -> OfflineDataset:
    """Return episodes of random length over observations in the plane."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, size=rng.integers(4, 10)).tolist()
    n = sum(lengths)
    return vector_dataset(
        rng.normal(size=(n + len(lengths), 2)) * [1.0, 5.0],
        rng.integers(2, size=n),
        lengths,
        rng.integers(2, size=n),
    )


def random_continuous_dataset(seed: int) -> OfflineDataset:
    """Return such episodes with actions in a box, the comparator's near half of them."""
    data = random_vector_dataset(seed)
    rng = np.random.default_rng(seed)
    comparator = rng.uniform(-1, 1, (len(data), 2)).astype(np.float32)
    far = rng.uniform(-1, 1, comparator.shape) * (rng.random((len(data), 1)) < 0.5)
    action = np.clip(comparator + far, -1, 1).astype(np.float32)
    storage = replace(data.storage, action=action, comparator_action=comparator)
    spec = replace(data.spec, num_actions=0, action_bounds=((-1.0, -1.0), (1.0, 1.0)))
    return replace(data, storage=storage, spec=spec)


@cache
def cliff_task(seed: int = 0, num_transitions: int = 2000, epsilon: float = 0.5) -> Task:
    """Return data of a small slippery cliff, made once; most of its episodes terminate."""
    behavior = ({"epsilon": epsilon, "share": 1.0},)
    source = Collected(Cliff(height=3, width=4, slip=0.1), behavior, num_transitions, 50)
    return source.load("cliff", seed, 0.9, None)


@cache
def cartpole_task(seed: int = 0, num_transitions: int = 600, max_steps: int = 60) -> Task:
    """Return a little CartPole data, made once: some episodes fall and some reach the limit."""
    behavior = ({"epsilon": 0.3, "share": 1.0}, {"epsilon": 1.0, "share": 1.0})
    source = Collected(CartPole(), behavior, num_transitions, max_steps)
    return source.load("cartpole", seed, 0.99, None)


class Unknown(Environment):
    """A world of which a file tells episodes and nothing else: no anchors, no reference policy."""

    optimum = None
    uniform = None

    def __init__(self, spec: EnvSpec):
        """Take its spec."""
        self.spec = spec

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Refuse: there is none."""
        raise AssertionError("nobody knows what to do here")

    @classmethod
    def simulator(cls, environments, generators, num_episodes):
        """Refuse: there is none."""
        raise AssertionError("nothing can be simulated here")


def continuous_task(seed: int = 0, num_episodes: int = 60, length: int = 20) -> Task:
    """Return episodes in the plane whose three-dimensional actions are continuous.

    An episode's actions point right by as much as its return is high.
    """
    rng = np.random.default_rng(seed)
    n = num_episodes * length
    skill = rng.permutation(np.linspace(-1, 1, num_episodes)).repeat(length)
    observation = rng.normal(size=(n + 1, 2)).astype(np.float32) * np.float32([1.0, 7.0])
    action = rng.normal(size=(n, 3)) * 0.5
    action[:, 0] += skill
    storage = Storage(
        observation=observation[:-1],
        action=action.astype(np.float32),
        reward=skill + 0.01 * rng.normal(size=n),
        next_observation=observation[1:],
        terminated=np.zeros(n, dtype=bool),
        episode=np.arange(n) // length,
        step=np.arange(n) % length,
        comparator_action=None,
    )
    bounds = ((-3.0,) * 3, (3.0,) * 3)
    names = ("height", "speed")
    spec = EnvSpec("toy", "vector", 2, 0, 0.9, length, -1, 1, -10, 10, names, bounds)
    data = OfflineDataset.full(storage, spec, {"seed": seed})
    return Task(Unknown(spec), data, 0.0, None)


def swept_values(
    mdp: TabularMDP, discount: float, covered: np.ndarray | None = None, v_min: float = 0.0
) -> np.ndarray:
    """Return the optimal ``Q[states, actions]`` by value iteration, sweep after sweep."""
    value, largest = np.zeros(mdp.num_states), float(np.abs(mdp.reward).max())
    while True:
        following = np.where(mdp.terminated, 0.0, value[mdp.next_state])
        action_value = (mdp.probability * (mdp.reward + discount * following)).sum(-1)
        if covered is not None:
            action_value = np.where(covered, action_value, v_min)
        updated = action_value.max(-1)
        # |V_{k+1} - V*| <= discount / (1 - discount) |V_{k+1} - V_k|
        change, value = np.abs(updated - value).max(), updated
        if change * discount <= 1e-12 * largest:
            return action_value


def can_be_made(source: DataSource, discount: float) -> bool:
    """Return whether all is installed that a source's world needs."""
    try:
        source.check_here()
        source.check_discount(discount)
    except ValueError:
        return False
    return True
