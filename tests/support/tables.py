"""Small tables of data, and what loops over their transitions say of them."""

import numpy as np

from bench.worlds import exact
from tests.support.builders import from_columns, make_cohort, make_spec, random_dataset

DISCOUNT = 0.8
SPEC = make_spec(size=5, num_actions=3, v_min=-6.0, v_max=4.0)


def table_data(n=60, seed=0):
    """Return transitions between five states, of which the last is never left by action 2.

    Rewards follow from where a transition leads, and from whether it ends.
    """
    full = random_dataset("discrete", n, seed, spec=SPEC)
    rewards = np.random.default_rng(99).uniform(-1, 0.8, (5, 3, 5, 2))
    reward = rewards[
        full.observation, full.action, full.next_observation, full.terminated.astype(int)
    ]
    storage = full.storage
    made = from_columns(SPEC, full.observation, full.action, reward, full.next_observation,
                        full.terminated, storage.episode, storage.step, seed)  # fmt: skip
    return made.keep(~((made.observation == 4) & (made.action == 2)), "hole")


def targets_of(dataset, value, discount=DISCOUNT):
    """Return the list of ``r + discount (1 - terminated) value(s')`` of every pair."""
    found = {pair: [] for pair in np.ndindex(5, 3)}
    for i in range(len(dataset)):
        following = 0.0 if dataset.terminated[i] else value[dataset.next_observation[i]]
        pair = (int(dataset.observation[i]), int(dataset.action[i]))
        found[pair].append(dataset.reward[i] + discount * following)
    return found


def policy_of(cohort):
    """Return the distributions over actions at all states of a cohort of tables."""
    states = np.arange(cohort.spec.observation_size)
    return cohort.policy(np.broadcast_to(states, (cohort.num_runs, len(states))).copy())


def values_of(cohort, mdp, discount=DISCOUNT):
    """Return the true value of every run's policy, from the starts that its data shows."""
    policies = policy_of(cohort).mode_probabilities().double().numpy()
    values = exact.policy_evaluation(mdp, policies, discount)
    starts = cohort.summary.initial_observations.numpy()
    return np.take_along_axis(values, starts, 1).mean(1)


def alone(algorithm, dataset):
    """Return the cohort of one run."""
    return make_cohort([algorithm], [dataset])


def drawn_datasets(mdp, spec, number, n, seed=0):
    """Return datasets of `n` independent transitions each, from pairs in equal shares.

    Every pair is visited as often in every one of them, so that what they differ in is outcomes.
    """
    rng = np.random.default_rng(seed)
    pairs = np.array(list(np.ndindex(mdp.num_states, mdp.num_actions)))
    state, action = np.repeat(pairs, n // len(pairs), axis=0).T
    cumulative = mdp.probability[state, action].cumsum(-1)
    made = []
    for _ in range(number):
        outcome = (rng.random(len(state))[:, None] > cumulative).sum(-1)
        at = (state, action, outcome)
        order = np.arange(len(state))
        made.append(from_columns(spec, state, action, mdp.reward[at], mdp.next_state[at],
                                 mdp.terminated[at], order, 0 * order))  # fmt: skip
    return made
