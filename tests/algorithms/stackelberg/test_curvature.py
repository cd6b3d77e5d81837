"""The curvature of a network follower's objective, against dense matrices."""

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.stackelberg.game.game import Aims, Points, batch_game
from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import neural as neural_follower
from tests.algorithms.stackelberg.test_neural_follower import (
    AIMS,
    ANCHOR,
    CRITIC,
    LEADER,
    MULTIPLIER,
    RIDGE,
    SCALE,
    SPEC,
    answer,
    gradient_of,
    policy_of,
    residual_rows,
    sample,
)
from tests.support.builders import assert_close, make_spec, random_batch

NUMBERED = make_spec("discrete", size=4, num_actions=3, v_min=-1.0, v_max=1.0)


@pytest.mark.parametrize("sizes", [(), (5,), (6, 4)], ids=str)
@pytest.mark.parametrize("spec", [SPEC, NUMBERED], ids=["vector", "numbered"])
def test_a_jacobian_by_layers_is_the_residual_s(spec, sizes):
    draw = torch.Generator().manual_seed(7)
    critic = tree_map(torch.Tensor.double, networks.action_network(spec, sizes, draw))
    leader = tree_map(torch.Tensor.double, networks.action_network(spec, (3,), draw))
    data = random_batch(spec, 20, seed=4)
    game = batch_game(data, 0.9, torch.tensor(5.0))
    places = Points(data.observation, data.next_observation, data.initial_observation[:6])
    policy = policy_of(leader, places)
    expected = residual_rows(critic, game, policy, places)
    found = curvature.jacobian(critic, game, policy, places, SCALE)
    torch.testing.assert_close(found.under(torch.eye(20).double()), expected)
    torch.testing.assert_close(found.gram(), expected @ expected.T)
    for columns in (1, 2000):  # Either way to it is the shorter one once.
        root = torch.randn(20, columns, generator=draw).double()
        whole = root.T @ expected
        torch.testing.assert_close(found.squared_under(root), whole @ whole.T)
    along, weight = torch.randn(expected.shape[1], generator=draw).double(), expected[:, 0]
    torch.testing.assert_close(found @ curvature.like(along, critic), expected @ along)
    torch.testing.assert_close(curvature.flat(found.transposed(weight)), expected.T @ weight)


def test_gauss_newton_is_the_dense_solve():
    game, places, batch = sample()
    policy = policy_of(LEADER, places)
    jacobian = curvature.jacobian(CRITIC, game, policy, places, SCALE)
    gradient = gradient_of(AIMS[0], game, policy, places)
    found = curvature.gauss_newton_direction(gradient, jacobian, batch, MULTIPLIER, RIDGE)
    rows = residual_rows(CRITIC, game, policy, places)
    kernel = torch.diag(batch.weight) @ batch.features @ batch.features.T @ torch.diag(batch.weight)
    dense = 2 * MULTIPLIER * rows.T @ kernel @ rows
    dense = dense + RIDGE * torch.eye(len(dense), dtype=torch.float64)
    expected = torch.linalg.solve(dense, curvature.flat(gradient))
    torch.testing.assert_close(curvature.flat(found.along), expected, rtol=1e-7, atol=1e-9)
    assert found.residual < 1e-8


def test_gauss_newton_is_exact_where_the_residual_vanishes():
    """What it leaves out of the Hessian is proportional to the residual and to the pessimism."""
    game, places, batch = sample()
    policy = policy_of(LEADER, places)
    solved = game._replace(
        reward=game.reward - game.residual(policy, neural_follower.values(CRITIC, places, SCALE))
    )

    class Indifferent(Aims):
        def follower(self, game, policy, q):
            return 0.0 * game.taken_value(q)

    quiet = answer(Indifferent("data", "relative"))._replace(regularization=0.0)
    hessian = curvature.hessian_of(CRITIC, ANCHOR, quiet, solved, policy, places, SCALE, batch)
    gradient = gradient_of(AIMS[0], solved, policy, places)
    exact = curvature.exact_direction(hessian, gradient, RIDGE)
    jacobian = curvature.jacobian(CRITIC, solved, policy, places, SCALE)
    found = curvature.gauss_newton_direction(gradient, jacobian, batch, MULTIPLIER, RIDGE)
    assert_close(found.along, exact.along, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("features", [2, 40], ids=["few", "many"])
def test_the_spectrum_s_end_is_the_dense_one_s(features):
    """With fewer features than parameters the rest is the regularization's; with more, nothing."""
    game, places, batch = sample(n=60, features=features)
    policy = policy_of(LEADER, places)
    jacobian = curvature.jacobian(CRITIC, game, policy, places, SCALE)
    regularization = 1e-6
    found = curvature.gauss_newton_spectrum(jacobian, batch, MULTIPLIER, regularization)
    rows = residual_rows(CRITIC, game, policy, places)
    weighted = torch.diag(batch.weight) @ batch.features
    dense = 2 * MULTIPLIER * rows.T @ weighted @ weighted.T @ rows
    dense = dense + 2 * regularization * torch.eye(len(dense), dtype=torch.float64)
    every = torch.linalg.eigvalsh(dense)
    columns, parameters = 3 * features, len(dense)
    torch.testing.assert_close(found.smallest, every[0], rtol=1e-3, atol=0.0)
    seen = every[max(parameters - columns, 0)]
    torch.testing.assert_close(found.smallest_seen, seen, rtol=1e-3, atol=0.0)
