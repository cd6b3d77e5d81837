"""Behavior cloning of continuous actions: both losses against torch, and which episodes count."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from algorithms.continuous.bc import State
from algorithms.distributions import Deterministic, TanhNormal
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    from_columns,
    make_cohort,
    make_spec,
    of_run,
    random_batch,
    random_network,
    same_weights,
    tensors,
)
from tests.support.continuous import mean_of, step

SPEC = make_spec("continuous", size=4)
OUTPUTS = {"likelihood": 4, "mse": 2}


def learner(**settings):
    return build_algorithm("bc", "continuous", **settings)


def data(returns=(-100.0,)):
    """Return episodes of one step with the given returns."""
    n, rng = len(returns), np.random.default_rng(0)
    observation, step = rng.normal(size=(n, 4)), np.arange(n)
    action = rng.uniform(-0.9, 0.9, size=(n, 2))
    reward = np.array(returns, dtype=float)
    return from_columns(SPEC, observation, action, reward, observation, np.ones(n), step, 0 * step)


def summary_of(dataset):
    return of_run(make_cohort([learner()], [dataset]).summary, 0)


def loss_of_torch(objective, module, batch):
    outputs = module(batch.observation)
    if objective == "mse":
        return mean_of(((outputs.tanh() - batch.action) ** 2).sum(1), batch)
    normal = Normal(outputs[:, :2], outputs[:, 2:].clamp(-5, 2).exp())
    policy = Independent(TransformedDistribution(normal, TanhTransform()), 1)
    return -mean_of(policy.log_prob(batch.action.clamp(-0.999, 0.999)), batch)


@pytest.mark.parametrize("objective", ["likelihood", "mse"])
def test_twenty_updates_are_those_of_torch(objective):
    algorithm = learner(objective=objective, learning_rate=0.01)
    summary = summary_of(data())
    actor = random_network((4, 8, OUTPUTS[objective]), scale=0.5)
    module = as_module(actor)
    reference = torch.optim.Adam(module.parameters(), lr=0.01)
    state = State(actor, adam_init(actor))
    for seed in range(20):
        batch = random_batch(SPEC, 12, seed)
        assert (batch.action.abs() == 1).any()
        state, metrics = algorithm.update(state, summary, batch, {}, 0)
        loss = loss_of_torch(objective, module, batch)
        torch.testing.assert_close(metrics["loss"], loss.detach(), rtol=1e-6, atol=1e-6)
        step(reference, loss)
    same_weights(state.actor, module, rtol=1e-5, atol=1e-6)


def test_the_policy_is_what_the_objective_says():
    observation = torch.zeros(3, 4)
    for objective, kind in (("likelihood", TanhNormal), ("mse", Deterministic)):
        algorithm = learner(objective=objective, hidden_sizes=[8])
        state = algorithm.init(SPEC, None, torch.Generator().manual_seed(0))
        policy = algorithm.policy(state, observation)
        assert isinstance(policy, kind)
        assert policy.mode().shape == (3, 2)


def test_actions_at_the_bounds_have_finite_gradients():
    algorithm = learner(objective="likelihood")
    batch = random_batch(SPEC, 12, dtype=torch.float32)
    batch = batch._replace(action=batch.action.sign())
    actor = random_network((4, 8, 4), dtype=torch.float32)
    gradient = torch.func.grad(algorithm.loss)(actor, summary_of(data()), batch)
    assert all(torch.isfinite(leaf).all() for leaf in tensors(gradient))


def test_it_clones_the_best_fraction_of_the_episodes():
    dataset = data(np.random.default_rng(1).permutation(40))
    algorithm = learner(top_fraction=0.25, objective="mse", hidden_sizes=[])
    cohort = make_cohort([algorithm], [dataset], batch_size="full")
    summary, batch = of_run(cohort.summary, 0), of_run(cohort.replay.batch(0), 0)
    actor = random_network((4, 8, 2), dtype=torch.float32)
    rows = [batch._replace(weight=row) for row in torch.eye(40)]
    counted = [algorithm.loss(actor, summary, row).item() > 0 for row in rows]
    assert np.array_equal(counted, dataset.reward >= 30)
