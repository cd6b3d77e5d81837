"""Pessimistic soft policy iteration in linear features (PSPI; Xie et al. 2021, section 4).

    critic   f_k = argmin_f  E_s0[ f(s0, pi_k) ] + lambda E(f),      f(s, a) = v_min + phi(s, a) . w
    actor    W_{k+1} = W_k + learning_rate w_k,       pi_k(a|s) proportional to exp(phi(s, a) . W_k)

The second minimisation of the paper's critic, E(f) = E_data[(f - y)^2] - min_g E_data[(g - y)^2]
with g linear too, leaves the projected Bellman error, which is the kernel `normalized_feature`: the
critic is the follower `linear` of `stackelberg` under the objective of initial states and absolute
pessimism, the same function for the same policy. The actor is mirror descent, exact in these
features: a policy is the sum of its critics. For tables see pspi.py, where the same holds.

Differences from the paper: the last policy acts, by its mode, instead of all in equal shares;
moments are running means over minibatches (followers/linear.py); the weights of f are regularised
instead of bounded.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.stackelberg.followers.linear import LinearMemory, answer_to
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Aims, Points, Units, batch_game, units
from algorithms.stackelberg.game.kernels import Kernel, random_features
from algorithms.stackelberg.game.terms import Terms
from algorithms.stackelberg.responses import linear as linear_response
from bench.types import Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction

AIMS = Aims("initial", "absolute")
KERNEL: Kernel = "normalized_feature"


class State(NamedTuple):
    """The policy's weights ``[actions * features]``, of what features, and in what units."""

    weights: Tensor
    bandwidth: Tensor
    memory: LinearMemory
    units: Units


@dataclass(frozen=True)
class LinearPessimisticSoftPolicyIteration(Algorithm):
    """Mirror descent along the lowest linear critic that the data allows.

    Attributes:
        learning_rate: Of mirror descent, per unit of the range of values.
        conservatism: C; lambda is n / C.
        num_features: Random features per action.
        regularization: Weight of the critic's parameters in its objective.
        moment_rate: Least weight of the last minibatch in the moments.
    """

    learning_rate: Positive
    conservatism: Positive
    num_features: Count
    regularization: Positive
    moment_rate: PositiveFraction

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return the uniform policy, and features that have seen nothing."""
        size, number = spec.observation_size, self.num_features
        features = data_moments.draw_features(KERNEL, size, number, generator)
        moments = data_moments.no_moments(number * spec.num_actions)
        memory = LinearMemory(features, moments)
        weights = torch.zeros_like(moments.target)
        return State(weights, summary.bandwidth.double(), memory, units(spec))

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Ask for the critic of the policy, then take one step along it."""
        terms = Terms(
            aims=AIMS,
            form="penalty",
            kernel=KERNEL,
            bandwidth=state.bandwidth,
            conservatism=self.conservatism,
            discount=torch.as_tensor(self.discount, dtype=torch.float64),
            ridge=None,
        )
        features, lowest = state.memory.features, state.units.v_min
        places = Points(batch.observation, batch.next_observation, summary.initial_observations)
        seen = data_moments.features_of(features, KERNEL, state.bandwidth, places)
        actions = len(state.weights) // self.num_features
        logits = linear_response.values(seen, state.weights, 0.0, actions)
        policy = Points(*(x.softmax(-1) for x in logits))
        game = batch_game(batch, terms.discount, state.units.width)
        rows = batch.weight.double().sum()
        now = data_moments.moments_of(game, seen, policy, lowest, rows)
        moments = data_moments.running_mean(state.memory.moments, now, self.moment_rate)
        initial = data_moments.per_action(policy.initial, seen.initial).mean(0)
        answer = answer_to(terms, moments, initial, summary.num_transitions, self.regularization)
        found = answer.response.weights
        critic = linear_response.values(seen, found, lowest, actions)
        weights = state.weights + self.learning_rate * found
        after = linear_response.values(seen, weights, 0.0, actions).observation.softmax(-1)
        moved = (after - policy.observation).abs().amax(-1)
        metrics = {
            "lower_bound": state.units.width * game.initial_value(policy, critic),
            "bellman_error": answer.loss.value(found),
            "change": (game.weight * moved).sum(),
        }
        memory = LinearMemory(features, moments)
        told = {name: value.float() for name, value in metrics.items()}
        return State(weights, state.bandwidth, memory, state.units), told

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the policy at observations ``[..., observation_size]``, or at states ``[...]``."""
        features = state.memory.features
        at = random_features(observation, features.frequency, features.phase, state.bandwidth)
        return Categorical((at @ state.weights.reshape(-1, self.num_features).T).float())
