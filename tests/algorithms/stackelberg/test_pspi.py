"""Pessimistic soft policy iteration: the paper's critic, and StackelbergLearner's."""

import numpy as np
import pytest
import torch

from algorithms.networks import rows
from tests.support.builders import build_algorithm, from_columns, of_run, train
from tests.support.tables import DISCOUNT, SPEC, alone, policy_of, table_data

WIDTH = SPEC.v_max - SPEC.v_min


def learner(**settings):
    return build_algorithm("pspi", **{"discount": DISCOUNT, "conservatism": 3.0} | settings)


def papers_objective(dataset, initial, f, policy, multiplier):
    """Return E_s0 f + lambda (loss(f, f) - min over g of loss(g, f)), over single transitions."""
    state, action, following = (
        torch.as_tensor(x) for x in (dataset.observation, dataset.action, dataset.next_observation)
    )
    goes_on = torch.as_tensor(~dataset.terminated).double()
    value = (policy * f).sum(-1)
    target = torch.as_tensor(dataset.reward) / WIDTH + DISCOUNT * goes_on * value[following]
    cell = state * 3 + action
    number = torch.bincount(cell, minlength=15).clamp_min(1)
    regressed = torch.zeros(15, dtype=torch.float64).scatter_add(0, cell, target) / number
    loss = ((f.flatten()[cell] - target) ** 2).mean() - ((regressed[cell] - target) ** 2).mean()
    return value[initial].mean() + multiplier * loss


def test_its_critic_is_the_papers():
    dataset = table_data()
    cohort = train(alone(learner(), dataset), 7)
    logits = of_run(cohort.state, 0).logits
    # What a step adds to the logits is the critic of the policy before it, up to constants.
    moved = of_run(train(cohort, 1).state, 0).logits - logits
    policy = logits.softmax(-1)
    seen = torch.zeros(5, 3, dtype=torch.bool)
    seen[dataset.observation, dataset.action] = True
    initial = of_run(cohort.summary, 0).initial_observations
    multiplier = len(dataset) / 3.0

    free = torch.zeros(int(seen.sum()), dtype=torch.float64)

    place = seen.flatten().nonzero().squeeze(-1)

    def table(values):
        lowest = torch.full((15,), SPEC.v_min / WIDTH, dtype=torch.float64)
        return lowest.scatter(0, place, values).reshape(5, 3)

    def objective(values):
        return papers_objective(dataset, initial, table(values), policy, multiplier)

    # It is quadratic: one Newton step leads to its lowest point.
    slope = torch.func.grad(objective)(free)
    curvature = torch.func.hessian(objective)(free)
    lowest = torch.linalg.solve(curvature, -slope)
    f = table(lowest)
    expected = f - (logits + f).amax(-1, keepdim=True)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)
    value = (policy * f).sum(-1)[initial].mean() * WIDTH
    assert cohort.metrics["lower_bound"].item() == pytest.approx(value.item(), rel=1e-5)


def test_its_critic_is_the_follower_of_stackelberg():
    dataset = table_data()
    follower = build_algorithm(
        "stackelberg", "discrete", discount=DISCOUNT, conservatism=3.0, hidden_sizes=[],
        kernel="normalized_delta", objective="initial", pessimism="absolute",
    )  # fmt: skip
    one, other = train(alone(learner(), dataset), 1), train(alone(follower, dataset), 1)
    # Both begin with the uniform policy.
    expected = other.metrics["follower_value"].item()
    assert one.metrics["lower_bound"].item() == pytest.approx(expected, rel=1e-6)


def test_the_actor_is_mirror_descent():
    dataset = table_data()
    one, other = (train(alone(learner(learning_rate=r), dataset), 1) for r in (0.5, 1.0))
    first, second = (of_run(c.state, 0).logits for c in (one, other))
    # Twice the rate, twice the way: differences between actions are the critic's.
    torch.testing.assert_close(
        2 * (first - first[:, :1]), second - second[:, :1], rtol=0, atol=1e-12
    )
    probabilities = policy_of(other).probabilities()[0]
    expected = rows(second, torch.arange(5)).softmax(-1).float()
    torch.testing.assert_close(probabilities, expected)


def test_more_data_leaves_less_to_be_pessimistic_about():
    sparse = table_data(60)
    twice = np.sort(np.tile(np.arange(len(sparse)), 2))
    dense = from_columns(SPEC, sparse.observation[twice], sparse.action[twice],
                         sparse.reward[twice], sparse.next_observation[twice],
                         sparse.terminated[twice], np.arange(len(twice)), 0 * twice)  # fmt: skip
    bounds = [train(alone(learner(), d), 1).metrics["lower_bound"].item() for d in (sparse, dense)]
    assert bounds[0] < bounds[1] < np.inf
