"""Pessimistic soft policy iteration in random features: its critic is the paper's."""

import pytest
import torch

from algorithms import networks
from algorithms.stackelberg.followers.base import LEAD, Turn
from algorithms.stackelberg.followers.linear import LinearFollower
from algorithms.stackelberg.game.kernels import random_features
from algorithms.stackelberg.game.terms import Terms
from algorithms.stackelberg.leaders import LEADERS
from algorithms.stackelberg.linear_pspi import AIMS, KERNEL
from tests.support.builders import (
    build_algorithm,
    make_cohort,
    of_run,
    random_dataset,
    train,
    world,
)

C, REGULARIZATION = 3.0, 0.1
SETTINGS = {
    "discount": 0.9, "conservatism": C, "learning_rate": 5.0, "num_features": 4,
    "regularization": REGULARIZATION, "moment_rate": 1.0,
}  # fmt: skip


def trained(updates, **settings):
    """Return a cohort of one run that sees all of its data at every update."""
    learner = build_algorithm("pspi", "vector", **SETTINGS | settings)
    cohort = make_cohort([learner], [random_dataset("vector", 40, 0)], batch_size="full")
    return train(cohort, updates)


def of_batch(cohort):
    """Return the state of the only run, its batch and what is known of its data, float64."""
    state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
    batch = of_run(cohort.replay.batch(0), 0)
    return state, batch, summary


def features(state, observation):
    at = state.memory.features
    return random_features(observation, at.frequency, at.phase, state.bandwidth)


def per_action(probability, at):
    """Return the features of actions in proportion to their probability, by a loop."""
    return torch.stack(
        [torch.cat([p * x for p in row]) for row, x in zip(probability, at, strict=True)]
    )


def test_its_critic_is_the_papers_with_a_linear_second_minimisation():
    cohort = trained(3)
    before, batch, summary = of_batch(cohort)
    moved = of_run(train(cohort, 1).state, 0).weights - before.weights

    def policy(at):
        return (at @ before.weights.reshape(2, -1).T).softmax(-1)

    spec = world("vector").spec
    width, lowest = before.units.width, before.units.v_min
    own, following, first = (
        features(before, x)
        for x in (batch.observation, batch.next_observation, summary.initial_observations)
    )
    taken = per_action(torch.eye(2, dtype=torch.float64)[batch.action], own)
    going_on = SETTINGS["discount"] * (1 - batch.terminated.double())
    after = per_action(policy(following), following)
    initial = per_action(policy(first), first).mean(0)
    n = len(taken)
    assert width > 0
    assert spec.num_actions == 2

    def objective(w):
        f, f_after = lowest + taken @ w, lowest + after @ w
        target = batch.reward.double() / width + going_on * f_after
        # min over g of E[(phi g - (f - y))^2] + |g|^2 / n, by least squares
        off = f - target
        stacked = torch.cat([taken, torch.eye(len(w), dtype=w.dtype)])
        fit = torch.linalg.lstsq(stacked, torch.cat([off, torch.zeros_like(w)])[:, None])
        g = fit.solution[:, 0]
        least = ((taken @ g - off) ** 2).mean() + (g**2).sum() / n
        loss = (off**2).mean() - least
        return lowest + initial @ w + n / C * loss + REGULARIZATION * (w**2).sum()

    start = torch.zeros_like(moved)
    slope = torch.func.grad(objective)(start)
    curvature = torch.func.hessian(objective)(start)
    expected = SETTINGS["learning_rate"] * torch.linalg.solve(curvature, -slope)
    torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-7)
    bound = lowest + initial @ (expected / SETTINGS["learning_rate"])
    assert cohort.metrics["lower_bound"].item() == pytest.approx((width * bound).item(), rel=1e-5)


def test_its_critic_is_the_linear_follower_of_stackelberg():
    cohort = trained(0)
    state, batch, summary = of_batch(cohort)
    discount = torch.tensor(SETTINGS["discount"], dtype=torch.float64)
    terms = Terms(AIMS, "penalty", KERNEL, state.bandwidth, C, discount, None)
    # A policy network of zeros is uniform, as PSPI's first policy is.
    uniform = ({"weight": torch.zeros(4, 2), "bias": torch.zeros(2)},)
    assert networks.apply(uniform, batch.observation).abs().max() == 0
    turn = Turn(
        terms, uniform, state.memory, summary, batch, state.units, LEADERS["categorical"], {}
    )
    follower = LinearFollower(REGULARIZATION, SETTINGS["num_features"], 1.0)
    expected = follower.play(turn, LEAD).metrics["follower_value"].item()
    train(cohort, 1)
    assert cohort.metrics["lower_bound"].item() == pytest.approx(expected, rel=1e-6)


def test_a_policy_is_the_sum_of_its_critics():
    one, other = (of_run(trained(1, learning_rate=r).state, 0).weights for r in (0.5, 1.0))
    torch.testing.assert_close(2 * one, other, rtol=0, atol=1e-12)
    cohort = trained(2)
    state, batch, _ = of_batch(cohort)
    logits = build_algorithm("pspi", "vector", **SETTINGS).policy(state, batch.observation).logits
    by_hand = [
        [
            per_action(torch.eye(2, dtype=torch.float64)[[a]], x[None])[0] @ state.weights
            for a in (0, 1)
        ]
        for x in features(state, batch.observation)
    ]
    torch.testing.assert_close(logits, torch.tensor(by_hand).float(), rtol=1e-5, atol=1e-6)
