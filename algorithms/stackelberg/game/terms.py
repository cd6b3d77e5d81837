"""The terms of a Stackelberg game: what leader, follower and logs all need to know."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.game import Aims, Game, Points, Units
from algorithms.stackelberg.game.implicit import Reply
from algorithms.stackelberg.game.kernels import Kernel

Form = Literal["penalty", "constraint"]
# Of pairs, with those of a transition with itself (V) or without (U); or of single residuals.
KernelLoss = Literal["u", "v", "squared"]


class Terms(NamedTuple):
    """Settings of a learner that every follower needs; their ranges are checked there.

    Attributes:
        aims: What the two players are after.
        form: Whether the kernel loss is weighed or limited.
        kernel: The kernel of the loss.
        bandwidth: ``[]``, its scale.
        conservatism: C.
        discount: ``[]``, float64.
        ridge: Added to the curvature, in units of the multiplier, when the leader asks how the
            follower moves; None is none.
        kernel_loss: Which statistic of residuals the loss is; `squared` knows no kernel.
    """

    aims: Aims
    form: Form
    kernel: Kernel
    bandwidth: Tensor
    conservatism: float | Tensor
    discount: Tensor
    ridge: float | Tensor | None
    kernel_loss: KernelLoss = "v"

    @property
    def constrained(self) -> bool:
        """Whether the kernel loss is limited."""
        return self.form == "constraint"

    @property
    def squared(self) -> bool:
        """Whether the loss is the mean squared residual, without a kernel."""
        return self.kernel_loss == "squared"

    def multiplier(self, number: Tensor) -> Tensor:
        """Return ``n / C``, the weight of the kernel loss as a penalty."""
        return number / self.conservatism

    def damping(self, multiplier: Tensor) -> Tensor | None:
        """Return what is added to the curvature where the kernel loss has that multiplier."""
        return None if self.ridge is None else self.ridge * multiplier

    def tilted(self, tilt: float | Tensor) -> "Terms":
        """Return the terms of a follower that also wants `tilt` of the leader's objective."""
        return self._replace(aims=self.aims.tilted(tilt))

    def allowed_loss(self, number: Tensor) -> Tensor:
        """Return ``C^2 / n``, the kernel loss that a constraint allows."""
        return self.conservatism**2 / number

    def metrics(
        self, game: Game, policy: Points, reply: Reply, multiplier: Tensor, scale: Units
    ) -> dict[str, Tensor]:
        """Return what can be said of every follower; values are in the environment's units."""
        return {
            "follower_value": scale.width * game.initial_value(policy, reply.q),
            "leader_objective": scale.width * self.aims.leader(game, policy, reply.q),
            "pessimism": scale.width * self.aims.follower(game, policy, reply.q),
            "multiplier": multiplier,
            "bandwidth": self.bandwidth,
            "ridge": torch.as_tensor(0.0 if self.ridge is None else self.ridge),
        }


def outside(q: Tensor, scale: Units) -> Tensor:
    """Return 1 where a value is outside the range that any policy's can have, else 0."""
    # Rounding of the exact ends is not outside.
    slack = 1e-6
    return ((q < scale.v_min - slack) | (q > scale.v_max + slack)).to(q.dtype)
