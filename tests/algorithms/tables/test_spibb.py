"""Safe policy improvement: the best of the allowed policies, by enumeration, and its safety."""

import itertools

import numpy as np
import pytest

from tests.support.builders import build_algorithm, from_columns, make_cohort, train
from tests.support.tables import DISCOUNT, SPEC, alone, policy_of, table_data, targets_of


def learner(**settings):
    return build_algorithm("spibb", **{"discount": DISCOUNT, "min_count": 4} | settings)


def counts_of(dataset):
    visits = np.zeros((5, 3))
    np.add.at(visits, (dataset.observation, dataset.action), 1)
    return visits


def allowed(behavior, rare, constraint):
    """Return the extreme points of what a state's distribution over actions may be."""
    if constraint == "equal":
        if rare.all():
            return [behavior]
        kept = behavior * rare
        return [kept + (1 - kept.sum()) * np.eye(3)[a] for a in np.flatnonzero(~rare)]
    found = []
    for order in itertools.permutations(range(3)):
        policy = np.zeros(3)
        for action in order:
            left = 1 - policy.sum()
            policy[action] = min(behavior[action], left) if rare[action] else left
        found.append(policy)
    return found


def empirical_values(dataset, policies):
    """Return the values ``[..., states]`` of policies in the empirical MDP."""
    reward = np.zeros((5, 3))
    continuation = np.zeros((5, 3, 5))
    visits = np.maximum(counts_of(dataset), 1)
    for pair, targets in targets_of(dataset, np.zeros(5)).items():
        reward[pair] = sum(targets) / visits[pair]
    going = ~dataset.terminated
    at = (dataset.observation[going], dataset.action[going], dataset.next_observation[going])
    np.add.at(continuation, at, 1)
    step = np.einsum("...sa,sat->...st", policies, continuation / visits[..., None])
    mean = (policies * reward).sum(-1)
    return np.linalg.solve(np.eye(5) - DISCOUNT * step, mean[..., None])[..., 0]


@pytest.mark.parametrize("constraint", ["equal", "at_most"])
@pytest.mark.parametrize("min_count", [1, 4, 1000])
def test_it_is_the_best_of_all_policies_that_are_allowed(constraint, min_count):
    dataset = table_data(70)
    visits = counts_of(dataset)
    behavior = visits / visits.sum(-1, keepdims=True)
    choices = [allowed(behavior[s], visits[s] < min_count, constraint) for s in range(5)]
    every = np.array(list(itertools.product(*choices)))
    best = empirical_values(dataset, every).max(0)

    algorithm = learner(constraint=constraint, min_count=min_count)
    policy = policy_of(train(alone(algorithm, dataset), 150)).probabilities()[0].double().numpy()
    np.testing.assert_allclose(empirical_values(dataset, policy), best, atol=1e-5)
    rare = visits < min_count
    if constraint == "equal":
        np.testing.assert_allclose((policy - behavior)[rare], 0, atol=1e-6)
    else:
        assert (policy <= np.where(rare, behavior, 1) + 1e-6).all()
    if min_count == 1000 and constraint == "equal":
        np.testing.assert_allclose(policy, behavior, atol=1e-6)


def test_a_state_without_data_gets_the_uniform_policy():
    dataset = table_data(70)
    dataset = dataset.keep(dataset.observation != 2, "unvisited")
    policy = policy_of(train(alone(learner(), dataset), 5)).probabilities()[0]
    np.testing.assert_allclose(policy[2], 1 / 3)


def test_what_is_acted_by_is_what_was_learned():
    dataset = table_data(70)
    policy = policy_of(train(alone(learner(min_count=1000), dataset), 5))
    # The behavior policy is no policy's most likely action.
    assert (policy.mode_probabilities() == policy.probabilities()).all()
    assert (policy.probabilities() < 1).all()


def bandit_data(rng, n=40):
    """Return one-step episodes: .5 for sure in nine of ten, else a draw that is 1 in three of ten.

    All from state 0; no pair is left out, so that the uniform policy of others plays no part.
    """
    action = rng.choice(3, size=n, p=(0.9, 0.05, 0.05))
    reward = np.where(action == 0, 0.5, rng.random(n) < 0.3)
    state = np.zeros(n, dtype=int)
    return from_columns(SPEC, state, action, reward, state, np.ones(n), np.arange(n), state)


def test_it_is_safe_where_a_greedy_policy_is_not():
    rng = np.random.default_rng(0)
    number, mean = 400, np.array([0.5, 0.3, 0.3])
    datasets = [bandit_data(rng) for _ in range(number)]

    def worse(min_count):
        """Return in what share of the datasets the policy is worse than the behavior policy."""
        algorithms = [learner(min_count=min_count)] * number
        policies = policy_of(train(make_cohort(algorithms, datasets), 3)).probabilities()
        # It is estimated: in so many draws its value varies by .01.
        return (policies[:, 0].numpy() @ mean < 0.48 - 0.03).mean()

    assert worse(min_count=15) <= 0.05
    assert worse(min_count=1) > 0.3
