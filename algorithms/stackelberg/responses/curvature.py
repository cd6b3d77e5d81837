"""The curvature of a network follower's objective, and where its answer moves by that.

    w = (2 multiplier J^T K J + ridge I)^-1 d_psi J_L,   J = d delta / d psi,   K = Phi Phi^T / n^2

K has low rank, that of the kernel's features (responses/neural.py), so that w comes out of a system
as large as there are features:

    F = sqrt(2 multiplier) J^T Phi / n,   (F^T F + ridge I) y = F^T v,   w = (v - F y) / ridge

in float64: in float32 the subtraction loses all digits. J is never made. What a layer's weights do
to a residual is an outer product, input times slope, at each of the two observations it takes q of:
so ``J J^T`` is a sum over layers of products of their Gram matrices (as in Novak et al. 2022): for
64 rows and units it takes a fifth of J's time. It grows with the rows' square, so that for many of
them ``F^T`` is made instead, column by column. `exact` curvature, the dense Hessian of J_F, is an
oracle for tests and for tiny networks; it can be indefinite.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from algorithms import networks
from algorithms.networks import Layer, Network
from algorithms.stackelberg.game import solvers
from algorithms.stackelberg.game.game import Points
from algorithms.stackelberg.game.implicit import low_rank_direction
from algorithms.stackelberg.game.moments import of_action
from algorithms.stackelberg.game.terms import KernelLoss
from algorithms.stackelberg.responses.neural import Answer, objective
from algorithms.stackelberg.responses.samples import Pairs, Sample, doubled

EIGENVALUE_STEPS = 50


def flat(tree: Any) -> Tensor:
    """Return the leaves of a tree as one float64 vector."""
    return torch.cat([x.double().flatten() for x in tree_leaves(tree)])


def like(vector: Tensor, tree: Any) -> Any:
    """Return a vector in the shape of a tree, keeping its own type."""
    leaves, structure = tree_flatten(tree)
    parts = vector.split([x.numel() for x in leaves])
    return tree_unflatten(
        [v.reshape(x.shape) for v, x in zip(parts, leaves, strict=True)], structure
    )


class Jacobian(NamedTuple):
    """``J = d delta / d psi``, ``[batch, parameters]``, by what it is a product of; float64.

    A batch's residuals take q of its observations, then of those that follow: twice as many points.

    Attributes:
        inputs: ``[2 batch, in]`` of each layer.
        slopes: ``[2 batch, out]``, the derivative of a point's residual in each layer's output.
        critic: The parameters, for their shapes.
    """

    inputs: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    critic: Network

    def __matmul__(self, along: Network) -> Tensor:
        """Return ``J v``, ``[batch]``, of v shaped like the critic."""
        layers = zip(self.inputs, self.slopes, along, strict=True)
        moved = [(slope * networks.apply((layer,), x)).sum(-1) for x, slope, layer in layers]
        return sum(moved).unflatten(0, (2, -1)).sum(0)  # type: ignore[union-attr]

    def transposed(self, weight: Tensor) -> Network:
        """Return ``J^T u``, shaped like the critic, of ``u[batch]``."""
        twice = weight.repeat(2).unsqueeze(-1)

        def of_layer(x: Tensor, slope: Tensor, layer: Layer) -> Layer:
            weighted = twice * slope
            bias = {"bias": weighted.sum(0)} if "bias" in layer else {}
            return {"weight": x.mT @ weighted} | bias

        return tuple(map(of_layer, self.inputs, self.slopes, self.critic))

    def gram(self) -> Tensor:
        """Return ``J J^T``, ``[batch, batch]``."""
        points = torch.zeros((), dtype=torch.float64)
        for x, slope, layer in zip(self.inputs, self.slopes, self.critic, strict=True):
            inputs = x @ x.mT
            if "bias" in layer:
                inputs = inputs + 1
            points = points + inputs * (slope @ slope.mT)
        return points.unflatten(0, (2, -1)).unflatten(2, (2, -1)).sum((0, 2))

    def under(self, root: Tensor) -> Tensor:
        """Return ``root^T J``, ``[columns, parameters]``, of ``root[batch, columns]``."""
        return torch.func.vmap(lambda one: flat(self.transposed(one)), in_dims=1)(root)

    def squared_under(self, root: Tensor) -> Tensor:
        """Return ``root^T J J^T root``, ``[columns, columns]``, by what takes fewer products."""
        points, columns = len(self.slopes[0]), root.shape[-1]
        sizes = [layer["weight"].shape for layer in self.critic]
        if points * sum(map(sum, sizes)) <= columns * sum(a * b for a, b in sizes):
            return root.T @ self.gram() @ root
        factor = self.under(root)
        return factor @ factor.T


def jacobian(critic: Network, sample: Sample, policy: Points) -> Jacobian:
    """Return the residuals' derivative in the critic's parameters."""
    x, weights = sample.ends(policy)
    if not x.is_floating_point():
        x = of_action(x, len(critic[0]["weight"]))
    x = x.to(critic[0]["weight"].dtype)
    inputs = []
    for index, layer in enumerate(critic):
        inputs.append(x)
        x = networks.apply((layer,), x)
        x = x.relu() if index < len(critic) - 1 else x
    slope = sample.slope(weights, x)
    slopes = [slope]
    for layer, active in zip(critic[:0:-1], inputs[:0:-1], strict=True):
        slope = (slope @ layer["weight"].mT) * (active > 0)
        slopes.insert(0, slope)
    inputs, slopes = ([y.double() for y in part] for part in (inputs, slopes))
    return Jacobian(tuple(inputs), tuple(slopes), critic)


class Curved(NamedTuple):
    """``w``, shaped like the critic and float64, with the relative residual of its system."""

    along: Network
    residual: Tensor


def gauss_newton_direction(
    gradient: Network,
    rows: Jacobian,
    batch: Pairs,
    multiplier: Tensor,
    ridge: float | Tensor,
    statistic: KernelLoss = "v",
) -> Curved:
    """Return w by the Gauss-Newton curvature, of V also for U, given the residuals' Jacobian.

    The residual is that of ``(F F^T + ridge I) w``, not of the small system solved for it.
    """
    root = _root(batch, multiplier, statistic)

    def project(v: Tensor) -> Tensor:
        return root.T @ (rows @ like(v, gradient))

    def spread(y: Tensor) -> Tensor:
        return flat(rows.transposed(root @ y))

    small = rows.squared_under(root)
    found = low_rank_direction(flat(gradient), project, spread, small, ridge)
    return Curved(like(found.x, gradient), found.residual)


class Spectrum(NamedTuple):
    """Smallest eigenvalues of the curvature of the follower's objective, scalars.

    Attributes:
        smallest: Of all.
        smallest_seen: Of those in the span of what the data's kernel features constrain, all others
            being the regularization's own.
    """

    smallest: Tensor
    smallest_seen: Tensor


def gauss_newton_spectrum(
    rows: Jacobian,
    batch: Pairs,
    multiplier: Tensor,
    regularization: float | Tensor,
    statistic: KernelLoss = "v",
) -> Spectrum:
    """Return the spectrum's end of ``2 multiplier J^T K J + 2 regularization I``, from above.

    Where there are more parameters than kernel features, the smallest is 2 regularization exactly.
    """
    root = _root(batch, multiplier, statistic)
    fewer = root.shape[-1] < sum(x.numel() for x in tree_leaves(rows.critic))
    if fewer:
        small = rows.squared_under(root)
    else:
        factor = rows.under(root)
        small = factor.T @ factor
    floor = 2 * torch.as_tensor(regularization, dtype=small.dtype, device=small.device)
    matrix = small + floor * torch.eye(len(small), dtype=small.dtype, device=small.device)
    seen = solvers.smallest_of(matrix, EIGENVALUE_STEPS)
    return Spectrum(floor if fewer else seen, seen)


def _root(batch: Pairs, multiplier: Tensor, statistic: KernelLoss) -> Tensor:
    return (2 * multiplier).sqrt() * batch.root(statistic)


def exact_direction(hessian: Tensor, gradient: Network, ridge: Any) -> Curved:
    """Return w by a dense Hessian of the follower's objective ``[parameters, parameters]``."""
    right = flat(gradient)
    matrix = hessian + ridge * torch.eye(len(right), dtype=right.dtype, device=right.device)
    x = torch.linalg.solve_ex(matrix, right)[0]
    return Curved(like(x, gradient), solvers.relative_residual(matrix @ x, right))


def hessian_of(
    critic: Network, anchor: Network, answer: Answer, sample: Sample, policy: Points
) -> Tensor:
    """Return the dense Hessian of ``J_F`` in the critic's parameters, float64."""
    start, still, exact = flat(critic), doubled(anchor), doubled(sample)

    def of_vector(vector: Tensor) -> Tensor:
        return objective(like(vector, critic), still, answer, exact, policy)[0]

    return torch.func.hessian(of_vector)(start)
