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


def test_it_agrees_with_the_library():
    matrix, right = system()
    found = solvers.cholesky(matrix, right)
    torch.testing.assert_close(found.x, torch.linalg.solve(matrix, right), rtol=1e-6, atol=1e-8)
    assert found.residual < 1e-9


def test_nothing_to_solve_is_solved():
    matrix, right = system()
    found = solvers.cholesky(matrix, torch.zeros_like(right))
    assert found.x.abs().max() == 0
    assert found.residual == 0


def test_a_run_that_cannot_be_solved_leaves_the_others_alone():
    pairs = [system(seed=seed) for seed in range(3)]
    matrices, rights = map(torch.stack, zip(*pairs, strict=True))
    expected = torch.func.vmap(solvers.cholesky)(matrices, rights)
    matrices[1] = torch.nan
    found = torch.func.vmap(solvers.cholesky)(matrices, rights)
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
