"""Exact answers on finite MDPs, in float64: optimum, policy value, occupancy, covered optimum."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

# Actions whose values differ by less than this share of the largest value count as tied; the first
# is chosen, so that rounding cannot decide what a degradation removes.
TIE_TOLERANCE = 1e-9
# By how much of the largest value an action must be better to take another's place.
SLACK = 1e-14
# Sweeps of value iteration before the first solve: they leave a good policy to begin with, and
# where nothing is random often nothing to do.
SWEEPS = 30


@dataclass(frozen=True)
class TabularMDP:
    """A finite MDP as a list of outcomes per (state, action).

    Attributes:
        probability: ``[states, actions, outcomes]``, sums to 1 over outcomes.
        next_state: ``[states, actions, outcomes]``, ignored where the outcome terminates.
        reward: ``[states, actions, outcomes]``.
        terminated: ``[states, actions, outcomes]``, True where the episode ends.
        initial: ``[states]``, distribution of the first state.
    """

    probability: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    initial: np.ndarray

    def __post_init__(self) -> None:
        """Refuse what is not a distribution."""
        if self.probability.min() < 0 or self.initial.min() < 0:
            raise ValueError("Probabilities must not be negative.")
        if not np.allclose(self.probability.sum(-1), 1, atol=1e-9):
            raise ValueError("Outcome probabilities of every (state, action) must sum to 1.")
        if not np.isclose(self.initial.sum(), 1, atol=1e-9):
            raise ValueError("The initial distribution must sum to 1.")

    @property
    def num_states(self) -> int:
        """Number of states."""
        return self.probability.shape[0]

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return self.probability.shape[1]

    @cached_property
    def expected_reward(self) -> np.ndarray:
        """Mean reward ``[states, actions]``."""
        return (self.probability * self.reward).sum(-1)

    @cached_property
    def leads(self) -> csr_matrix:
        """Probability of going on to each state ``[states * actions, states]``.

        Rows sum to one minus the probability of terminating.
        """
        goes_on = (self.probability > 0) & ~self.terminated
        pair = np.nonzero(goes_on.reshape(-1, goes_on.shape[-1]))[0]
        to = pair, self.next_state[goes_on]
        shape = (self.num_states * self.num_actions, self.num_states)
        return csr_matrix((self.probability[goes_on], to), shape)

    @cached_property
    def continuation(self) -> np.ndarray:
        """The same as an array ``[states, actions, states]``."""
        return self.leads.toarray().reshape(self.num_states, self.num_actions, -1)


def optimal_values(
    mdp: TabularMDP,
    discount: float,
    covered: np.ndarray | None = None,
    v_min: float = 0.0,
    uniform: np.ndarray | None = None,
) -> np.ndarray:
    """Return the optimal ``Q[states, actions]`` by policy iteration (Howard 1960).

    With `covered` (bool ``[states, actions]``) the optimum is that of the same MDP in which every
    pair that is not covered leads to an absorbing state of value `v_min`: its Q is `v_min`. In the
    states that `uniform` (bool ``[states]``) names nothing is chosen: all actions are equally
    likely there, and none of them counts as uncovered.
    """
    shape = (mdp.num_states, mdp.num_actions)
    chooses = np.full(mdp.num_states, True) if uniform is None else ~uniform
    real = np.full(shape, True) if covered is None else covered | ~chooses[:, None]

    def worth(value: np.ndarray) -> np.ndarray:
        return np.where(real, backup(mdp, value, discount), v_min)

    value = np.zeros(mdp.num_states)
    for _ in range(SWEEPS):
        action_value = worth(value)
        updated = np.where(chooses, action_value.max(-1), action_value.mean(-1))
        if np.array_equal(updated, value):
            return action_value
        value = updated
    choice, total = action_value.argmax(-1), -np.inf
    while True:
        value = _value_of(mdp, discount, choice, chooses, real, v_min)
        action_value = worth(value)
        gain = action_value.max(-1) - np.take_along_axis(action_value, choice[:, None], 1)[:, 0]
        better = chooses & (gain > SLACK * np.abs(action_value[real]).max(initial=0.0))
        # Every round lifts some value; where none does, what looks better is rounding.
        if not better.any() or value.sum() <= total:
            return action_value
        total = float(value.sum())
        choice = np.where(better, action_value.argmax(-1), choice)


def _value_of(
    mdp: TabularMDP,
    discount: float,
    choice: np.ndarray,
    chooses: np.ndarray,
    real: np.ndarray,
    v_min: float,
) -> np.ndarray:
    """Return ``V[states]`` of actions ``choice[states]``, uniform where nothing is chosen.

    A pair that is not `real` ``[states, actions]`` ends with `v_min`.
    """
    state = np.arange(mdp.num_states)
    follows = mdp.leads[state * mdp.num_actions + choice].toarray()
    reward = np.where(real[state, choice], mdp.expected_reward[state, choice], v_min)
    follows[~real[state, choice]] = 0.0
    rest = np.flatnonzero(~chooses)
    if len(rest):
        follows[rest] = mdp.continuation[rest].mean(1)
        reward[rest] = mdp.expected_reward[rest].mean(1)
    return np.linalg.solve(np.eye(mdp.num_states) - discount * follows, reward)


def backup(mdp: TabularMDP, value: np.ndarray, discount: float) -> np.ndarray:
    """Return ``Q[s, a] = E[r + discount (1 - terminated) V(s')]`` for a value ``[states]``."""
    return mdp.expected_reward + discount * (mdp.leads @ value).reshape(mdp.expected_reward.shape)


def greedy(action_value: np.ndarray) -> np.ndarray:
    """Return the first maximising action ``[states]``, ties within `TIE_TOLERANCE`."""
    best = action_value.max(-1, keepdims=True)
    finite = action_value[np.isfinite(action_value)]
    slack = TIE_TOLERANCE * float(np.abs(finite).max())
    return (action_value >= best - slack).argmax(-1)


def deterministic(actions: np.ndarray, num_actions: int) -> np.ndarray:
    """Return the policy table ``[..., states, actions]`` that takes the given actions."""
    return np.eye(num_actions)[actions]


def epsilon_greedy(actions: np.ndarray, num_actions: int, epsilon: float) -> np.ndarray:
    """Return the policy that acts uniformly with probability `epsilon`, else as given."""
    return (1 - epsilon) * deterministic(actions, num_actions) + epsilon / num_actions


def policy_evaluation(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return ``V[..., states]`` of policies ``[..., states, actions]`` by a linear solve."""
    reward = (policy * mdp.expected_reward).sum(-1)
    matrix = np.eye(mdp.num_states) - discount * _state_transition(mdp, policy)
    return np.linalg.solve(matrix, reward[..., None])[..., 0]


def policy_value(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return the exact discounted value ``[...]`` from the initial distribution."""
    return policy_evaluation(mdp, policy, discount) @ mdp.initial


def occupancy(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return ``(1 - discount) sum_t discount^t P(s_t = s, a_t = a)`` as ``[..., states, actions]``.

    Episodes that terminate leave the table, so the sum is at most 1.
    """
    matrix = np.eye(mdp.num_states) - discount * _state_transition(mdp, policy)
    start = np.broadcast_to((1 - discount) * mdp.initial, policy.shape[:-1])
    state_occupancy = np.linalg.solve(np.swapaxes(matrix, -1, -2), start[..., None])
    # A solve leaves rounding of either sign where a state cannot be reached.
    state_occupancy = np.maximum(state_occupancy, 0.0)
    state_occupancy[state_occupancy < 1e-14] = 0.0
    return state_occupancy * policy


def visits(mdp: TabularMDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """Return ``sum_t discount^t P(s_t = s, a_t = a)`` of a policy, ``[states, actions]`` each.

    As solved: unlike in `occupancy`, what a policy cannot reach may have visits of either sign of
    the size of rounding, and products with them are exact to that.
    """
    matrix = np.eye(mdp.num_states) - discount * _state_transition(mdp, policy)
    return np.linalg.solve(matrix.T, mdp.initial)[:, None] * policy


def _state_transition(mdp: TabularMDP, policy: np.ndarray) -> np.ndarray:
    """Return ``P_pi[..., states, states]``, the probability of going on under each policy."""
    return np.einsum("...sa,sat->...st", policy, mdp.continuation, optimize=True)
