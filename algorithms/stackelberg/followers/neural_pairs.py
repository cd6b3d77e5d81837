"""A network of observation and action that answers by Adam steps, for continuous actions.

It plays as `NeuralFollower` does; its own are what a critic takes in, where that starts, and what
the leader clones first.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from algorithms import networks
from algorithms.objectives import best_episodes
from algorithms.stackelberg.followers.base import Turn, WarmStart
from algorithms.stackelberg.followers.memory import Memory, Seen, remember, weighed
from algorithms.stackelberg.followers.neural import NeuralFollower
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Points
from algorithms.stackelberg.game.kernels import Kernel, random_features
from algorithms.stackelberg.game.pairs import in_bandwidths, pair_game
from algorithms.stackelberg.game.terms import KernelLoss
from algorithms.stackelberg.responses.samples import Sample, VectorSample
from bench.types import ActionKind, Batch, EnvSpec, Positive, PositiveFraction


@dataclass(frozen=True)
class NeuralPairFollower(NeuralFollower):
    """A critic network of pairs.

    Attributes:
        action_bandwidth: Scale of actions in the kernel, which lie in [-1, 1].
        top_fraction: Of the episodes, the best of which the leader starts from a clone of.
        cloning_rate: Of the leader while it clones; it leads more slowly than its follower learns.
    """

    action_bandwidth: Positive
    top_fraction: PositiveFraction
    cloning_rate: Positive

    name: ClassVar[str] = "neural_pairs"
    action_kind: ClassVar[ActionKind] = "continuous"

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse also a loss that values without bounds make as low as one likes."""
        super().check(kernel, kernel_loss, ridge)
        if kernel_loss == "u":
            raise ValueError(
                f"kernel_loss=u is indefinite, and follower={self.name} has values without bounds: "
                "use kernel_loss=v or squared"
            )

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> Memory:
        """Return a critic that has seen nothing: its values are about the units' base."""
        size = spec.observation_size + spec.action_size
        features = data_moments.draw_features(kernel, size, self.num_features, generator)
        critic = networks.feed_forward((size, *self.hidden_sizes, 1), generator)
        return remember(critic, features, 1)

    def sample(self, turn: Turn) -> Sample:
        """Return the turn's one batch as the critic sees it."""
        batch, scale = turn.batch, turn.scale
        assert batch is not None
        taken = torch.cat([batch.observation, batch.action.to(batch.observation.dtype)], dim=-1)
        game = pair_game(batch, taken, turn.terms.discount, scale.width)
        places = Points(batch.observation, batch.next_observation, batch.initial_observation)
        weighing = weighed(turn, game.weight, self.seen(turn))
        return VectorSample(game, weighing, scale, places, turn.leader, turn.noise)

    def seen(self, turn: Turn) -> Seen:
        """Return what the kernel knows of the turn's one batch."""
        batch, features = turn.batch, turn.memory.features
        assert batch is not None
        pairs = in_bandwidths(
            batch.observation, batch.action, turn.terms.bandwidth, self.action_bandwidth
        )
        found = random_features(pairs, features.kernel_frequency, features.kernel_phase, 1.0)
        return Seen(found, torch.ones_like(found[:, :1]))

    def warm_start(self, turn: Turn) -> WarmStart:
        """Clone and evaluate, at a rate of its own."""
        return super().warm_start(turn)._replace(rate=self.cloning_rate)

    def cloned(self, turn: Turn) -> Batch:
        """Return the batch with weight on its best episodes alone."""
        assert turn.batch is not None
        weight = best_episodes(turn.batch, turn.summary, self.top_fraction)
        return turn.batch._replace(weight=weight)
