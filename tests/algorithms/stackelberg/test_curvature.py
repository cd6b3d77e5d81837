"""The curvature of a network follower's objective, against dense matrices."""

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.stackelberg.game.game import Aims
from algorithms.stackelberg.responses import curvature
from tests.algorithms.stackelberg.test_neural_follower import (
    AIMS,
    KINDS,
    MULTIPLIER,
    PLAYERS,
    RIDGE,
    SPEC,
    answer,
    gradient_of,
    residual_rows,
    sample,
)
from tests.support.builders import assert_close, make_spec

NUMBERED = make_spec("discrete", size=4, num_actions=3, v_min=-1.0, v_max=1.0)


def drawn(spec, sizes, draw):
    """Return a critic and a leader on observations of a spec, None for both of vectors."""
    if spec is None:
        shapes = (4, *sizes, 1), (2, 3, 2)
        found = [networks.feed_forward(shape, draw) for shape in shapes]
    else:
        found = [networks.action_network(spec, hidden, draw) for hidden in (sizes, (3,))]
    return tree_map(torch.Tensor.double, found)


@pytest.mark.parametrize("sizes", [(), (5,), (6, 4)], ids=str)
@pytest.mark.parametrize("spec", [SPEC, NUMBERED, None], ids=["vector", "numbered", "pairs"])
def test_a_jacobian_by_layers_is_the_residual_s(spec, sizes):
    draw = torch.Generator().manual_seed(7)
    critic, leader = drawn(spec, sizes, draw)
    seen = sample("numbered", spec=spec) if spec else sample("vectors")
    policy = seen.policy(leader)
    expected = residual_rows(critic, seen, policy)
    found = curvature.jacobian(critic, seen, policy)
    torch.testing.assert_close(found.under(torch.eye(20).double()), expected)
    torch.testing.assert_close(found.gram(), expected @ expected.T)
    for columns in (1, 2000):  # Either way to it is the shorter one once.
        root = torch.randn(20, columns, generator=draw).double()
        whole = root.T @ expected
        torch.testing.assert_close(found.squared_under(root), whole @ whole.T)
    along, weight = torch.randn(expected.shape[1], generator=draw).double(), expected[:, 0]
    torch.testing.assert_close(found @ curvature.like(along, critic), expected @ along)
    torch.testing.assert_close(curvature.flat(found.transposed(weight)), expected.T @ weight)


@KINDS
def test_gauss_newton_is_the_dense_solve(kind):
    seen, (critic, _, leader) = sample(kind), PLAYERS[kind]
    policy, pairs = seen.policy(leader), seen.pairs
    gradient = gradient_of(AIMS[0], seen, policy, critic)
    jacobian = curvature.jacobian(critic, seen, policy)
    found = curvature.gauss_newton_direction(gradient, jacobian, pairs, MULTIPLIER, RIDGE)
    rows = residual_rows(critic, seen, policy)
    kernel = torch.diag(pairs.weight) @ pairs.features @ pairs.features.T @ torch.diag(pairs.weight)
    dense = 2 * MULTIPLIER * rows.T @ kernel @ rows
    dense = dense + RIDGE * torch.eye(len(dense), dtype=torch.float64)
    expected = torch.linalg.solve(dense, curvature.flat(gradient))
    torch.testing.assert_close(curvature.flat(found.along), expected, rtol=1e-7, atol=1e-9)
    assert found.residual < 1e-8


@KINDS
def test_gauss_newton_is_exact_where_the_residual_vanishes(kind):
    """What it leaves out of the Hessian is proportional to the residual and to the pessimism."""
    seen, (critic, anchor, leader) = sample(kind), PLAYERS[kind]
    policy = seen.policy(leader)
    reward = seen.game.reward - seen.game.residual(policy, seen.values(critic))
    solved = seen._replace(game=seen.game._replace(reward=reward))

    class Indifferent(Aims):
        def follower(self, game, policy, q):
            return 0.0 * game.taken_value(q)

    quiet = answer(Indifferent("data", "relative"))._replace(regularization=0.0)
    hessian = curvature.hessian_of(critic, anchor, quiet, solved, policy)
    gradient = gradient_of(AIMS[0], solved, policy, critic)
    exact = curvature.exact_direction(hessian, gradient, RIDGE)
    jacobian = curvature.jacobian(critic, solved, policy)
    found = curvature.gauss_newton_direction(gradient, jacobian, solved.pairs, MULTIPLIER, RIDGE)
    assert_close(found.along, exact.along, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("features", [2, 40], ids=["few", "many"])
@KINDS
def test_the_spectrum_s_end_is_the_dense_one_s(kind, features):
    """With fewer features than parameters the rest is the regularization's; with more, nothing."""
    seen, (critic, _, leader) = sample(kind, n=60, features=features), PLAYERS[kind]
    policy, pairs = seen.policy(leader), seen.pairs
    jacobian = curvature.jacobian(critic, seen, policy)
    regularization = 1e-6
    found = curvature.gauss_newton_spectrum(jacobian, pairs, MULTIPLIER, regularization)
    rows = residual_rows(critic, seen, policy)
    weighted = torch.diag(pairs.weight) @ pairs.features
    dense = 2 * MULTIPLIER * rows.T @ weighted @ weighted.T @ rows
    dense = dense + 2 * regularization * torch.eye(len(dense), dtype=torch.float64)
    every = torch.linalg.eigvalsh(dense)
    columns, parameters = pairs.features.shape[1], len(dense)
    torch.testing.assert_close(found.smallest, every[0], rtol=1e-3, atol=0.0)
    smallest = every[max(parameters - columns, 0)]
    torch.testing.assert_close(found.smallest_seen, smallest, rtol=1e-3, atol=0.0)
