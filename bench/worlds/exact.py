"""Exact answers on finite MDPs, in float64: optimum, policy value, occupancy, covered optimum."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Actions whose values differ by less than this share of the largest value count as tied; the first
# is chosen, so that rounding cannot decide what a degradation removes.
TIE_TOLERANCE = 1e-9
# Of values, as a share of the largest that there can be.
TOLERANCE = 1e-12


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
    def continuation(self) -> np.ndarray:
        """Probability of going on to each state ``[states, actions, states]``.

        Rows sum to one minus the probability of terminating.
        """
        matrix = np.zeros((self.num_states, self.num_actions, self.num_states))
        state = np.arange(self.num_states)[:, None, None]
        action = np.arange(self.num_actions)[:, None]
        np.add.at(matrix, (state, action, self.next_state), self.probability * ~self.terminated)
        return matrix


def backup(mdp: TabularMDP, value: np.ndarray, discount: float) -> np.ndarray:
    """Return ``Q[s, a] = E[r + discount (1 - terminated) V(s')]`` for a value ``[states]``."""
    successor = np.where(mdp.terminated, 0.0, value[mdp.next_state])
    return (mdp.probability * (mdp.reward + discount * successor)).sum(-1)


def value_iteration(
    mdp: TabularMDP,
    discount: float,
    covered: np.ndarray | None = None,
    v_min: float = 0.0,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """Return the optimal ``Q[states, actions]`` to within `tolerance` times the value scale.

    With `covered` (bool ``[states, actions]``) the optimum is that of the same MDP in which every
    pair that is not covered leads to an absorbing state of value `v_min`: its Q is `v_min`.
    """
    value = np.zeros(mdp.num_states)
    scale = float(np.abs(mdp.reward).max()) / (1 - discount)
    while True:
        action_value = backup(mdp, value, discount)
        if covered is not None:
            action_value = np.where(covered, action_value, v_min)
        updated = action_value.max(-1)
        # |V_{k+1} - V*| <= discount / (1 - discount) |V_{k+1} - V_k|
        change = np.abs(updated - value).max() * discount / (1 - discount)
        value = updated
        if change <= tolerance * scale:
            return action_value


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


def _state_transition(mdp: TabularMDP, policy: np.ndarray) -> np.ndarray:
    """Return ``P_pi[..., states, states]``, the probability of going on under each policy."""
    return np.einsum("...sa,sat->...st", policy, mdp.continuation, optimize=True)
