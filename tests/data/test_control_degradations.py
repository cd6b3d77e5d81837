"""The controls: worse episodes, wrong rewards, as little data, and several things at once."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import seeding
from bench.cohorts.replay import Replay
from bench.data import degradations
from bench.data.collected import Collected
from bench.data.degradations import Degradation, composite, quality, rewards, size_matched
from bench.data.encoding import Encoder
from bench.data.summary import summarize
from bench.measures import coverage
from bench.worlds.mdps import Cliff
from tests.support import commands
from tests.support.worlds import (
    cartpole_task,
    cliff_task,
    random_tabular_dataset,
    random_vector_dataset,
)

severities = st.floats(0, 1)
seeds = st.integers(0, 30)


def rng(seed=0):
    return np.random.default_rng(seed)


def step(name, severity=1.0, **settings):
    return Degradation(name, partial(getattr(degradations, name), **settings), severity)


STATES = step("region", shape="slab", dimension=None)
ACTIONS = step("actions", num_cells=8)
THIN = step("thin", 0.5)


# Quality

worse = partial(quality, worse_epsilon=1.0, worse_id=None)


@pytest.mark.parametrize("severity", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("make", [cliff_task, cartpole_task])
def test_as_many_transitions_come_as_go_up_to_an_episode(make, severity):
    data = make().data
    view = worse(data, severity, rng(1))
    own = len(data.storage)
    added = view.storage.episode[view.indices[view.indices >= own]]
    last = np.count_nonzero(added == added[-1])
    assert 0 <= len(view) - len(data) < last
    # New episodes are whole, and none is shared with the old ones.
    lengths = dict(zip(*np.unique(view.storage.episode[own:], return_counts=True), strict=True))
    for episode, length in zip(*np.unique(added, return_counts=True), strict=True):
        assert lengths[episode] == length
    assert added.min() > data.storage.episode.max()


@given(severity=severities)
def test_a_share_of_the_episodes_is_replaced(severity):
    data = cliff_task(num_transitions=300).data
    view = worse(data, severity, rng(0))
    kept = np.unique(view.episode[view.indices < len(data.storage)])
    gone = int(severity * data.num_episodes + 0.5)
    assert len(kept) == data.num_episodes - gone


def test_replaced_data_is_that_of_the_worse_policy():
    task = cliff_task(num_transitions=4000, epsilon=0.2)
    view = worse(task.data, 1.0, rng(0))
    agreement = np.mean(view.action == view.comparator_action)
    assert agreement == pytest.approx(0.25, abs=0.03)
    assert np.mean(task.data.action == task.data.comparator_action) > 0.8
    assert view.episode_returns.mean() < task.data.episode_returns.mean() - 0.3


def test_more_severity_covers_the_optimal_policy_less_well():
    task = cliff_task(num_transitions=4000, epsilon=0.2)
    views = [worse(task.data, severity, rng(0)) for severity in (0, 0.5, 1)]
    measured = [coverage.measure(task, view).inverse_l2_concentrability for view in views]
    assert measured[0] > measured[1] > measured[2]


def test_worse_episodes_are_collected_once_and_only_when_asked_for():
    data = cliff_task().data
    first, second = worse(data, 0.3, rng(0)), worse(data, 0.6, rng(0))
    assert first.storage is second.storage
    other = quality(data, 0.3, rng(0), worse_epsilon=0.8, worse_id=None)
    assert other.storage is not first.storage
    assert len(data.storage) == 2000 < len(first.storage)


def test_a_policy_that_is_no_worse_is_refused():
    source = Collected(Cliff(3, 4, 0.1), ({"epsilon": 0.5, "share": 1.0},), 100, 50)
    with pytest.raises(ValueError, match="should be above the mean epsilon"):
        source.check_worse(0.5, None)
    with pytest.raises(ValueError, match="has no id"):
        source.check_worse(1.0, "hopper-random-v2")
    source.check_worse(0.51, None)


def test_without_a_source_of_worse_episodes_quality_is_refused():
    with pytest.raises(ValueError, match="a source that can supply worse episodes"):
        worse(random_tabular_dataset(0), 0.5, rng())


# Rewards


@given(seed=seeds, severity=severities, kind=st.sampled_from(["zero", "negated", "random"]))
def test_the_rewards_of_a_share_of_the_transitions_are_altered(seed, severity, kind):
    data = random_tabular_dataset(seed)
    # Rewards far from what any kind puts in their place, so that an altered one shows.
    data = data.with_rewards(5.0 + np.arange(len(data)), "numbered")
    view = rewards(data, severity, rng(seed), kind=kind)
    altered = view.reward != data.reward
    assert altered.sum() == int(np.floor(severity * len(data) + 0.5))
    if kind == "zero":
        assert np.all(view.reward[altered] == 0)
    if kind == "negated":
        np.testing.assert_array_equal(view.reward[altered], -data.reward[altered])
    if kind == "random":
        low, high = data.spec.reward_min, data.spec.reward_max
        assert np.all((view.reward[altered] >= low) & (view.reward[altered] <= high))


def test_random_rewards_are_uniform_over_the_range_of_a_step():
    data = cliff_task(num_transitions=4000).data
    view = rewards(data, 1.0, rng(0), kind="random")
    low, high = min(0, data.spec.reward_min), max(0, data.spec.reward_max)
    counts, _ = np.histogram(view.reward, bins=8, range=(low, high))
    assert counts.sum() == 4000
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(500))


def test_altered_rewards_reach_minibatches_counts_and_returns():
    data = cliff_task(num_transitions=300).data
    view = rewards(data, 1.0, rng(0), kind="negated")
    mean, scale = np.zeros(12), np.ones(12)
    plain, altered = (summarize(d, mean, scale, with_counts=True) for d in (data, view))
    torch.testing.assert_close(altered.tabular.reward_sums, -plain.tabular.reward_sums)
    torch.testing.assert_close(altered.tabular.successor_counts, plain.tabular.successor_counts)
    np.testing.assert_allclose(
        altered.return_quantiles.max(), -data.episode_returns.min(), rtol=1e-6
    )
    encoder = Encoder(data.spec, [mean, mean], [scale, scale])
    initial = torch.zeros(2, 256, dtype=torch.int64)
    device = torch.device("cpu")
    batch = Replay([data, view], [0, 0], encoder, initial, 64, 1, device).batch(0)
    torch.testing.assert_close(batch.reward[1], -batch.reward[0])
    torch.testing.assert_close(batch.episode_return[1], -batch.episode_return[0])
    assert batch.reward.abs().sum() > 0


def test_altered_rewards_change_no_coverage_and_no_world():
    task = cliff_task()
    view = rewards(task.data, 1.0, rng(0), kind="zero")
    before, after = (coverage.measure(task, d) for d in (task.data, view))
    assert before.inverse_concentrability == after.inverse_concentrability
    assert view.spec is task.data.spec


# Size matched


@given(seed=seeds, severity=severities, of=st.sampled_from([STATES, ACTIONS, THIN]))
def test_as_much_is_left_as_the_other_degradation_leaves(seed, severity, of):
    data = random_tabular_dataset(seed)
    view = size_matched(data, severity, rng(seed), of=of)
    assert len(view) == len(of(data, severity))
    assert np.isin(view.indices, data.indices).all()


@given(seed=seeds, severity=severities)
def test_support_is_undamaged_as_far_as_size_allows(seed, severity):
    data = random_tabular_dataset(seed)
    view = size_matched(data, severity, rng(seed), of=THIN)

    def pairs(dataset):
        return set(zip(dataset.observation.tolist(), dataset.action.tolist(), strict=True))

    assert len(pairs(view)) == min(len(view), len(pairs(data)))


def test_if_not_every_pair_can_stay_the_most_visited_ones_do():
    data = random_tabular_dataset(4)
    pair = data.observation * 3 + data.action
    counts = np.bincount(pair)
    of = Degradation("thin", lambda dataset, s, r: dataset.keep(np.arange(len(dataset)) < 3, ""), 1)
    view = size_matched(data, 1.0, rng(0), of=of)
    kept = view.observation * 3 + view.action
    assert sorted(counts[kept], reverse=True) == sorted(counts, reverse=True)[:3]


def test_the_transitions_that_stay_are_drawn_anew_by_every_seed():
    data = random_vector_dataset(3)
    views = [size_matched(data, 1.0, rng(seed), of=THIN).indices for seed in range(300)]
    share = np.bincount(np.concatenate(views), minlength=len(data)) / 300
    assert np.all(np.abs(share - len(views[0]) / len(data)) < 0.15)


def test_exact_support_stays_where_the_other_degradation_damages_it():
    task = cliff_task(num_transitions=2000)
    damaged = STATES(task.data, 0.5)
    matched = size_matched(task.data, 0.5, rng(0), of=STATES)
    full, hurt, same = (coverage.measure(task, d) for d in (task.data, damaged, matched))
    assert hurt.support_fraction < full.support_fraction
    assert same.support_fraction == full.support_fraction


# Composite


@given(seed=seeds, severity=severities)
def test_steps_that_remove_do_together_what_each_does_alone(seed, severity):
    data = random_tabular_dataset(seed)
    view = composite(data, severity, rng(seed), steps=(THIN, STATES))
    alone = [one(data, severity).indices for one in (THIN, STATES)]
    assert view.indices.tolist() == sorted(set(alone[0]) & set(alone[1]))


def test_the_order_of_steps_that_remove_does_not_matter():
    data = cliff_task().data
    orders = [(THIN, STATES, ACTIONS), (ACTIONS, THIN, STATES)]
    first, second = (composite(data, 0.6, rng(0), steps=steps) for steps in orders)
    assert first.fingerprint == second.fingerprint


def test_steps_that_replace_or_alter_go_first():
    data = cliff_task().data
    wrong = step("rewards", kind="negated")
    worse_step = step("quality", 0.5, worse_epsilon=1.0, worse_id=None)
    orders = [(THIN, worse_step, wrong), (worse_step, wrong, THIN)]
    views = [composite(data, 1.0, rng(0), steps=steps) for steps in orders]
    assert views[0].fingerprint == views[1].fingerprint
    # Thinning looks at the replaced episodes too, and their rewards are wrong like the others.
    expected = THIN(wrong(worse_step(data)))
    assert views[0].fingerprint == expected.fingerprint


def test_a_steps_severity_is_a_share_of_the_wholes():
    data = cliff_task().data
    view = composite(data, 0.8, rng(0), steps=(THIN,))
    assert view.fingerprint == step("thin", 0.4)(data).fingerprint


def test_a_step_draws_what_it_draws_alone():
    data = cliff_task().data
    alone = degradations.thin(data, 0.5, seeding.numpy_generator("degrade", 0, "thin"))
    assert composite(data, 1.0, rng(9), steps=(THIN,)).fingerprint == alone.fingerprint


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least one degradation"):
        composite(random_tabular_dataset(0), 0.5, rng(), steps=())


# As words of a command


def ids(*words):
    return [run.run_id for run in commands.plan("dataset=lock", *words).runs]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("size_matched coverage.of=region", "size_matched coverage.of={name:region}"),
        ("composite coverage.steps=[thin]", "composite coverage.steps=[{name:thin,severity:1}]"),
        ("composite coverage.severity=0 coverage.steps=[thin]", "none"),
    ],
)
def test_two_ways_of_saying_the_same_are_one_run(short, long):
    assert ids(*f"coverage={short}".split()) == ids(*f"coverage={long}".split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("coverage.of=region", "coverage.of=actions"),
        ("coverage.of=actions", "coverage.of={name:actions,num_cells:3}"),
    ],
)
def test_another_degradation_to_match_is_another_run(one, other):
    assert ids("coverage=size_matched", one) != ids("coverage=size_matched", other)
