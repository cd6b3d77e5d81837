"""Solvers of symmetric positive definite systems that say how far they got.

None branches on a tensor or raises on a singular matrix: under vmap one run's failure would be
every run's. What went wrong shows in the residual.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Solution(NamedTuple):
    """What a solver found.

    Attributes:
        x: ``[n]``.
        residual: ``|A x - b| / |b|``, recomputed from `x`; 0 for a right-hand side of zeros.
    """

    x: Tensor
    residual: Tensor


def relative_residual(image: Tensor, right: Tensor) -> Tensor:
    """Return ``|image - right| / |right|`` of vectors ``[n]``, 0 where both vanish."""
    return _norm(image - right) / _norm(right).clamp_min(torch.finfo(right.dtype).tiny)


def cholesky(matrix: Tensor, right: Tensor) -> Solution:
    """Solve ``matrix[n, n] x = right[n]`` by a Cholesky factorisation."""
    factor, _ = torch.linalg.cholesky_ex(matrix)
    x = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    return Solution(x, relative_residual(matrix @ x, right))


def smallest_eigenvalue(solve: Callable[[Tensor], Tensor], start: Tensor, num_steps: int) -> Tensor:
    """Return the smallest eigenvalue of the matrix that `solve` inverts, from above.

    Inverse iteration from ``start[n]``; a start of zeros stays one and gives infinity.
    """
    tiny = torch.finfo(start.dtype).tiny
    x = start / _norm(start).clamp_min(tiny)
    for _ in range(num_steps):
        image = solve(x)
        x = image / _norm(image).clamp_min(tiny)
    return 1 / (x * solve(x)).sum()


def smallest_of(matrix: Tensor, num_steps: int) -> Tensor:
    """Return the smallest eigenvalue of a positive definite ``matrix[n, n]``, from above."""
    factor, _ = torch.linalg.cholesky_ex(matrix)

    def solve(x: Tensor) -> Tensor:
        return torch.cholesky_solve(x.unsqueeze(-1), factor).squeeze(-1)

    return smallest_eigenvalue(solve, torch.ones_like(matrix[0]), num_steps)


def _norm(x: Tensor) -> Tensor:
    return (x * x).sum().sqrt()
