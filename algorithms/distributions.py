"""What policies are: distributions over actions, with a mode to act by.

Numbered actions are chosen by `Categorical`, `Greedy` and `Mixed`, continuous ones, which lie in
[-1, 1] per dimension, by `Deterministic`, `TanhNormal` and `ClippedNormal`.
"""

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus

# A policy narrower than this would be all but sure of the data, a wider one all at the bounds.
LOG_STD_RANGE = (-5.0, 2.0)
# The action whose density stands for those nearer to a bound, where atanh is up to infinite.
LARGEST_ACTION = 0.999
# Of uniform numbers brought to [-1, 1]: at the ends erfinv is infinite. float32 has no number
# between this one and the next multiple of what `torch.rand` gives.
LARGEST_UNIFORM = 1 - 2**-23


def split_ties(scores: Tensor) -> Tensor:
    """Return probabilities ``[..., num_actions]``, uniform over the exactly highest scores.

    A table knows nothing of a state without data and scores all its actions alike; taking the
    first of them would make regret depend on how the actions happen to be numbered.
    """
    highest = (scores == scores.amax(-1, keepdim=True)).to(scores.dtype)
    return highest / highest.sum(-1, keepdim=True)


def standard_normal(uniform: Tensor) -> Tensor:
    """Return standard normal numbers of uniform ones in [0, 1), by the inverse distribution."""
    centered = (2 * uniform - 1).clamp(-LARGEST_UNIFORM, LARGEST_UNIFORM)
    return math.sqrt(2) * centered.erfinv()


class Categorical(NamedTuple):
    """A stochastic policy over discrete actions, ``logits[..., num_actions]``."""

    logits: Tensor

    def mode(self) -> Tensor:
        """Return the first of the most likely actions ``[...]``."""
        return self.logits.argmax(-1)

    def mode_probabilities(self) -> Tensor:
        """Return the probabilities of acting by the mode ``[..., num_actions]``, ties split."""
        return split_ties(self.logits)

    def probabilities(self) -> Tensor:
        """Return the probability of each action ``[..., num_actions]``."""
        return self.logits.softmax(-1)


class Greedy(NamedTuple):
    """A deterministic policy that takes the highest of ``scores[..., num_actions]``."""

    scores: Tensor

    def mode(self) -> Tensor:
        """Return the first of the highest-scored actions ``[...]``."""
        return self.scores.argmax(-1)

    def mode_probabilities(self) -> Tensor:
        """Return the probabilities of acting by the mode ``[..., num_actions]``, ties split."""
        return split_ties(self.scores)

    def probabilities(self) -> Tensor:
        """Return the same: the policy has no other randomness than splitting ties."""
        return self.mode_probabilities()


class Mixed(NamedTuple):
    """A policy that is stochastic by definition, ``chances[..., num_actions]``, sums of 1.

    It is acted on by sampling: its most likely actions would be another policy, for which nothing
    of what it promises holds.
    """

    chances: Tensor

    def mode(self) -> Tensor:
        """Return the first of the most likely actions ``[...]``."""
        return self.chances.argmax(-1)

    def mode_probabilities(self) -> Tensor:
        """Return the policy itself."""
        return self.chances

    def probabilities(self) -> Tensor:
        """Return the probability of each action ``[..., num_actions]``."""
        return self.chances


class Deterministic(NamedTuple):
    """A deterministic policy of continuous actions, ``action[..., action_size]``."""

    action: Tensor

    def mode(self) -> Tensor:
        """Return the action."""
        return self.action


class TanhNormal(NamedTuple):
    """The tanh of independent normal numbers, ``mean`` and ``log_std[..., action_size]``."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def bounded(cls, mean: Tensor, log_std: Tensor) -> "TanhNormal":
        """Return the policy with a log-std brought into `LOG_STD_RANGE`, as wide as the mean."""
        return cls(mean, log_std.clamp(*LOG_STD_RANGE).expand(mean.shape))

    @classmethod
    def of(cls, outputs: Tensor) -> "TanhNormal":
        """Return the policy of a network's outputs ``[..., 2 action_size]``, means first."""
        return cls.bounded(*outputs.chunk(2, -1))

    def mode(self) -> Tensor:
        """Return the tanh of the mean, by which such policies are evaluated.

        It is the median in each dimension; the density may be highest elsewhere, at a bound.
        """
        return self.mean.tanh()

    def sample(self, noise: Tensor) -> Tensor:
        """Return the actions ``[..., action_size]`` that uniform noise of that shape stands for.

        Differentiable in mean and log-std.
        """
        return self.sample_with_log_prob(noise)[0]

    def sample_with_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same actions with their log-density ``[...]``, exact at the bounds too."""
        normal = standard_normal(noise)
        before = self.mean + self.log_std.exp() * normal
        return before.tanh(), self._log_density(normal, before)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-density ``[...]``; beyond `LARGEST_ACTION` that of the nearest within."""
        before = action.clamp(-LARGEST_ACTION, LARGEST_ACTION).atanh()
        return self._log_density((before - self.mean) * (-self.log_std).exp(), before)

    def _log_density(self, normal: Tensor, before: Tensor) -> Tensor:
        """Return that of the tanh of ``before = mean + std normal``."""
        density = -0.5 * normal**2 - self.log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(x)^2), without the difference of nearly equal numbers
        squashing = 2 * (math.log(2) - before - softplus(-2 * before))
        return (density - squashing).sum(-1)


class ClippedNormal(NamedTuple):
    """Independent normal numbers around ``mean[..., action_size]`` in [-1, 1], clipped to that."""

    mean: Tensor
    log_std: Tensor

    def mode(self) -> Tensor:
        """Return the mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Return the actions ``[..., action_size]`` that uniform noise of that shape stands for."""
        return (self.mean + self.log_std.exp() * standard_normal(noise)).clamp(-1, 1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-density ``[...]`` before clipping."""
        deviation = (action - self.mean) * (-self.log_std).exp()
        density = -0.5 * deviation**2 - self.log_std - 0.5 * math.log(2 * math.pi)
        return density.sum(-1)


DiscretePolicy = Categorical | Greedy | Mixed
ContinuousPolicy = Deterministic | TanhNormal | ClippedNormal
ActionDistribution = DiscretePolicy | ContinuousPolicy


def is_stochastic(policy: ActionDistribution) -> bool:
    """Return whether sampling from a policy is something else than its mode."""
    return isinstance(policy, Categorical | TanhNormal | ClippedNormal)
