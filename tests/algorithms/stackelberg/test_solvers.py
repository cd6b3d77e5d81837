"""Solvers: right, honest about how far they got, and safe under vmap."""

import pytest
import torch

from algorithms.stackelberg.game import solvers


def system(n=9, seed=0, condition=1e4):
    """Return a positive definite matrix of a given condition number and a right-hand side."""
    draw = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, n, generator=draw, dtype=torch.float64))[0]
    spectrum = torch.logspace(0, torch.tensor(condition).log10().item(), n, dtype=torch.float64)
    right = torch.randn(n, generator=draw, dtype=torch.float64)
    return basis @ torch.diag(spectrum) @ basis.T, right


def gradients(matrix, right, num_steps=60):
    return solvers.conjugate_gradients(lambda x: matrix @ x, right, num_steps)


@pytest.mark.parametrize("solve", [solvers.cholesky, gradients])
def test_a_solver_agrees_with_the_library(solve):
    matrix, right = system()
    found = solve(matrix, right)
    torch.testing.assert_close(found.x, torch.linalg.solve(matrix, right), rtol=1e-6, atol=1e-8)
    assert found.residual < 1e-9


@pytest.mark.parametrize("num_steps", [1, 3, 5])
def test_a_solver_stopped_early_says_so(num_steps):
    matrix, right = system()
    found = gradients(matrix, right, num_steps)
    true = (matrix @ found.x - right).norm() / right.norm()
    assert found.residual.item() == pytest.approx(true.item())
    assert found.residual > 1e-2


def test_more_steps_than_needed_change_nothing():
    matrix, right = system(condition=10)
    enough = gradients(matrix, right, 30)
    assert torch.equal(enough.x, gradients(matrix, right, 60).x)


@pytest.mark.parametrize("solve", [solvers.cholesky, gradients])
def test_nothing_to_solve_is_solved(solve):
    matrix, right = system()
    found = solve(matrix, torch.zeros_like(right))
    assert found.x.abs().max() == 0
    assert found.residual == 0


@pytest.mark.parametrize("solve", [solvers.cholesky, gradients])
def test_a_run_that_cannot_be_solved_leaves_the_others_alone(solve):
    pairs = [system(seed=seed) for seed in range(3)]
    matrices, rights = map(torch.stack, zip(*pairs, strict=True))
    expected = torch.func.vmap(solve)(matrices, rights)
    matrices[1] = torch.nan
    found = torch.func.vmap(solve)(matrices, rights)
    for run in (0, 2):
        assert torch.equal(found.x[run], expected.x[run])
    assert found.x[1].isnan().all()
    assert found.residual[1].isnan()


def test_the_residual_of_a_matrix_that_is_not_positive_definite_is_not_small():
    found = solvers.cholesky(-system()[0], system()[1])
    assert not found.residual < 1e-3


def test_the_smallest_eigenvalue_is_found_from_above():
    matrix, _ = system(condition=30)
    matrix = 3 * matrix
    estimates = [
        solvers.smallest_eigenvalue(
            lambda x: torch.linalg.solve(matrix, x), torch.ones(9).double(), n
        )
        for n in (1, 4, 40)
    ]
    assert estimates[0] >= estimates[1] >= estimates[2] > 3 - 1e-9
    assert estimates[2].item() == pytest.approx(3, rel=1e-6)
