"""Minibatches: whose transitions they hold, how they are drawn, and who shares what."""

import numpy as np
import pytest
import torch
from scipy import stats

from bench.cohorts import draws
from bench.cohorts import replay as replay_module
from bench.cohorts.draws import scaled
from bench.cohorts.replay import Replay
from bench.data.encoding import Encoder
from bench.types import Batch
from tests.support.builders import make_spec, random_dataset, same

SIZE = 4


def numbered(kind, n, source=0):
    """Return a dataset whose rewards number its rows; every source has numbers of its own."""
    dataset = random_dataset(kind, n, source, spec=make_spec(kind, size=SIZE))
    dataset.storage.reward[:] = 1000 * source + np.arange(n)
    return dataset


def make_replay(datasets, seeds=None, batch_size=8, num_minibatches=1):
    """Return the replay of the datasets, whose observations are left as they are.

    Initial observation number i of run r is ``[r, i, 0, 0]``.
    """
    num_runs = len(datasets)
    encoder = Encoder(datasets[0].spec, [np.zeros(SIZE)] * num_runs, [np.ones(SIZE)] * num_runs)
    initial = torch.zeros(num_runs, 256, SIZE)
    initial[..., 0] = torch.arange(num_runs)[:, None]
    initial[..., 1] = torch.arange(256)
    seeds = range(num_runs) if seeds is None else seeds
    device = torch.device("cpu")
    return Batches(
        Replay(datasets, list(seeds), encoder, initial, batch_size, num_minibatches, device)
    )


class Batches:
    """The minibatches of a replay, one update's after the other's."""

    def __init__(self, replay):
        self.replay, self.step = replay, 0

    def next(self):
        self.step += 1
        return self.replay.batch(self.step - 1)


def rows_drawn(replay, num_batches, run=0):
    """Return the numbers of the rows in the next batches of a run ``[batches, batch]``."""
    return torch.stack([replay.next().reward[run] for _ in range(num_batches)]).numpy().astype(int)


def stacked(replay, num_batches):
    """Return the next batches as one tree."""
    return Batch(*map(torch.stack, zip(*(replay.next() for _ in range(num_batches)), strict=True)))


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_runs_draw_from_their_own_data_and_from_all_of_it(kind):
    datasets = [numbered(kind, n, source) for source, n in enumerate((5, 40, 1, 17))]
    replay = make_replay(datasets)
    drawn = torch.stack([replay.next().reward for _ in range(150)], 1).flatten(1).numpy()
    for run, dataset in enumerate(datasets):
        assert set(drawn[run]) == set(dataset.reward)


def test_no_draw_lies_beyond_the_data_even_for_the_largest_uniform_number():
    replay = make_replay([numbered("vector", 3), numbered("vector", 70, 1)])
    replay.replay.draws.at = lambda stream, step: torch.full((2, 8), 2**31 - 1, dtype=torch.int32)
    assert replay.next().reward[:, 0].tolist() == [2, 1069]


def test_draws_reach_every_row_of_more_than_single_precision_tells_apart():
    """The largest draws lead to the last rows; as floats they would all lead to one of them."""
    size = torch.tensor([[2**26], [2**31]])
    last = torch.arange(2**31 - 64, 2**31).int()[None]
    at = scaled(last, torch.tensor([0, 0]), size)
    assert at[0].unique().tolist() == [2**26 - 2, 2**26 - 1]
    assert at[1].tolist() == last[0].tolist()


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_the_fields_of_a_row_belong_together(kind):
    dataset = numbered(kind, 30)
    replay = make_replay([dataset])
    for _ in range(10):
        batch = replay.next()
        for k, row in enumerate(batch.reward[0].int().tolist()):
            for name in ("observation", "next_observation"):
                raw = getattr(dataset, name)[row]
                np.testing.assert_allclose(getattr(batch, name)[0, k], raw, rtol=1e-6)
            assert batch.action[0, k] == dataset.action[row]
            assert batch.terminated[0, k] == dataset.terminated[row]
            first, last = row // 7 * 7, min(row // 7 * 7 + 7, 30)
            assert batch.episode_return[0, k] == dataset.reward[first:last].sum()


def test_a_cut_or_a_hole_does_not_count_as_a_termination():
    full = numbered("vector", 60)
    left = full.keep(np.arange(60) % 5 != 3, "holes")
    assert (left.truncated & ~left.terminated).sum() > 5
    batch = make_replay([left], batch_size="full").next()
    np.testing.assert_array_equal(batch.terminated[0], left.terminated.astype(float))


def test_what_was_taken_away_is_never_drawn():
    full = numbered("discrete", 50)
    left = full.keep(np.arange(50) % 3 == 1, "a third")
    assert set(rows_drawn(make_replay([left]), 100).ravel()) == set(range(1, 50, 3))


def test_draws_are_uniform_over_the_rows():
    drawn = rows_drawn(make_replay([numbered("vector", 23)], batch_size=32), 400)
    counts = np.bincount(drawn.ravel(), minlength=23)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_draws_of_neighbouring_updates_are_independent():
    drawn = rows_drawn(make_replay([numbered("vector", 5)], batch_size=32), 401)
    pairs = (5 * drawn[:-1] + drawn[1:]).ravel()
    assert stats.chisquare(np.bincount(pairs, minlength=25)).pvalue > 1e-4


def test_draws_of_one_minibatch_are_independent():
    drawn = rows_drawn(make_replay([numbered("vector", 5)], batch_size=32), 400)
    pairs = (5 * drawn[:, ::2] + drawn[:, 1::2]).ravel()
    assert stats.chisquare(np.bincount(pairs, minlength=25)).pvalue > 1e-4


def test_initial_observations_are_the_runs_own_and_uniform():
    replay = make_replay([numbered("vector", 5), numbered("vector", 9, 1)], batch_size=32)
    initial = stacked(replay, 400).initial_observation
    assert (initial[:, 0, :, 0] == 0).all()
    assert (initial[:, 1, :, 0] == 1).all()
    counts = np.bincount(initial[:, 0, :, 1].flatten().int(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_initial_observations_are_drawn_apart_from_the_rows():
    batches = stacked(make_replay([numbered("vector", 5)], batch_size=32), 400)
    initial, row = batches.initial_observation[..., 1].flatten(), batches.reward.flatten()
    # Five standard errors of a correlation.
    assert abs(np.corrcoef(initial, row)[0, 1]) < 5 / np.sqrt(len(row))


@pytest.mark.parametrize("kind", ["discrete", "vector"])
@pytest.mark.parametrize("num_minibatches", [1, 3])
def test_a_run_draws_the_same_alone_and_in_company(kind, num_minibatches):
    datasets = [numbered(kind, n, source) for source, n in enumerate((5, 40, 17))]
    seeds = [4, 0, 4]
    company = make_replay(datasets, seeds, num_minibatches=num_minibatches)
    together = stacked(company, 70)
    for run in range(3):
        solo = make_replay([datasets[run]], [seeds[run]], num_minibatches=num_minibatches)
        alone = stacked(solo, 70)
        # An initial observation's first number is the run's position.
        for name in set(Batch._fields) - {"initial_observation"}:
            assert torch.equal(getattr(together, name)[:, run], getattr(alone, name)[:, 0])
        picked = [x.initial_observation[..., 1] for x in (together, alone)]
        assert torch.equal(picked[0][:, run], picked[1][:, 0])


def test_what_an_update_draws_does_not_depend_on_what_was_drawn_before():
    datasets = [numbered("vector", 5), numbered("vector", 40, 1)]
    batch_size = draws.BLOCK // 4  # so that four updates are drawn at a time
    forward = make_replay(datasets, batch_size=batch_size)
    expected = [forward.next() for _ in range(10)]
    for step in (9, 3, 4, 0, 9):
        assert same(make_replay(datasets, batch_size=batch_size).replay.batch(step), expected[step])
        assert same(forward.replay.batch(step), expected[step])


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_a_field_is_the_same_whether_others_are_asked_for_or_not(kind):
    replay = make_replay([numbered(kind, 30), numbered(kind, 50, 1)]).replay
    whole = replay.batch(7)
    for names in [(name,) for name in Batch._fields] + [("reward", "initial_observation")]:
        drawn = replay.drawn(names, 7)
        found = replay.fields(names, replay.feed(names), drawn)
        assert set(found) == set(names)
        for name in names:
            assert torch.equal(found[name], getattr(whole, name))
        asked = {"initial_observation": "initial", "weight": None}
        assert set(drawn) == {asked.get(name, "row") for name in names} - {None}


def test_no_draw_comes_twice():
    drawn = rows_drawn(
        make_replay([numbered("vector", 900)], batch_size=64), 3 * (draws.BLOCK // 64)
    )
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_runs_of_one_seed_draw_alike_from_data_of_different_size():
    sizes = (10, 20, 500)
    replay = make_replay([numbered("vector", n, i) for i, n in enumerate(sizes)], seeds=[3] * 3)
    for _ in range(20):
        rewards = replay.next().reward.long()
        small, double, large = (rewards[i] - 1000 * i for i in range(3))
        assert torch.equal(double // 2, small)
        assert torch.equal(large // 50, small)


def test_the_seed_decides_the_draws_and_zero_is_a_seed():
    dataset = numbered("vector", 40)
    drawn = {seed: rows_drawn(make_replay([dataset], [seed]), 5) for seed in (0, 1)}
    assert np.array_equal(drawn[0], rows_drawn(make_replay([dataset], [0]), 5))
    assert not np.array_equal(drawn[0], drawn[1])


def test_no_global_generator_is_touched():
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make_replay([numbered("vector", 40)]).next()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_runs_that_share_a_source_share_its_memory():
    first, second = numbered("vector", 50), numbered("vector", 30, 1)
    views = [first, first.keep(np.arange(50) < 9, "cut"), second, first]
    replay = make_replay(views)
    assert len(replay.replay.column("observation")) == 80
    drawn = stacked(replay, 100).reward
    for run, view in enumerate(views):
        assert set(drawn[:, run].flatten().tolist()) == set(view.reward)


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_a_full_batch_holds_every_transition_once(kind):
    datasets = [numbered(kind, n, source) for source, n in enumerate((5, 12, 1))]
    batch = make_replay(datasets, batch_size="full").next()
    assert batch.reward.shape == (3, 12)
    for run, dataset in enumerate(datasets):
        weighed = batch.weight[run] == 1
        assert batch.reward[run, weighed].tolist() == dataset.reward.tolist()
        assert (batch.weight[run, ~weighed] == 0).all()


def test_padding_repeats_transitions_of_the_same_run():
    datasets = [numbered("vector", 5), numbered("vector", 12, 1)]
    batch = make_replay(datasets, batch_size="full").next()
    assert set(batch.reward[0].tolist()) == set(datasets[0].reward)
    assert batch.observation.isfinite().all()


def test_a_full_batch_is_the_same_at_every_update():
    replay = make_replay([numbered("vector", 5), numbered("vector", 12, 1)], batch_size="full")
    first = replay.next()
    assert same(first, replay.next())


def test_a_full_batch_goes_through_the_initial_observations():
    batch = make_replay([numbered("vector", 600)], batch_size="full").next()
    assert batch.initial_observation[0, :, 1].tolist() == [i % 256 for i in range(600)]


def test_a_full_batch_has_the_same_initial_observations_alone_and_in_company():
    short, long = numbered("vector", 20), numbered("vector", 60, 1)
    alone = make_replay([short], batch_size="full").next().initial_observation[0, :, 1]
    together = make_replay([short, long], batch_size="full").next().initial_observation[0, :, 1]
    assert torch.equal(alone, together[:20])


@pytest.mark.parametrize("batch_size", [8, "full"])
def test_an_algorithm_without_minibatches_gets_none(batch_size):
    assert (
        make_replay([numbered("vector", 9)], batch_size=batch_size, num_minibatches=0).next()
        is None
    )


def test_one_minibatch_has_no_axis_of_its_own():
    batch = make_replay([numbered("vector", 9)] * 2, batch_size=8).next()
    assert batch.observation.shape == (2, 8, SIZE)
    assert batch.reward.shape == batch.weight.shape == batch.terminated.shape == (2, 8)


def test_several_minibatches_have_an_axis_and_differ():
    batch = make_replay([numbered("vector", 90)] * 2, batch_size=8, num_minibatches=3).next()
    assert batch.observation.shape == batch.initial_observation.shape == (2, 3, 8, SIZE)
    assert batch.reward.shape == batch.weight.shape == batch.action.shape == (2, 3, 8)
    rows = batch.reward[0]
    assert len({tuple(row.tolist()) for row in rows}) == 3
    assert (batch.weight == 1).all()


def test_each_of_several_full_minibatches_holds_everything():
    datasets = [numbered("vector", 5), numbered("vector", 12, 1)]
    one = make_replay(datasets, batch_size="full").next()
    three = make_replay(datasets, batch_size="full", num_minibatches=3).next()
    for k in range(3):
        assert same(Batch(*(x[:, k] for x in three)), one)


def test_numbers_arrive_in_single_precision_and_actions_as_integers():
    batch = make_replay([numbered("discrete", 9)]).next()
    whole = {"observation", "action", "next_observation", "next_action"}
    for name, field in batch._asdict().items():
        # The initial observations were given as they are.
        assert field.dtype == (torch.int64 if name in whole else torch.float32)


def test_a_minibatch_may_be_larger_than_the_data():
    batch = make_replay([numbered("vector", 3)], batch_size=50).next()
    assert set(batch.reward[0].tolist()) == {0, 1, 2}
    assert (batch.weight == 1).all()


def test_continuous_actions_are_those_of_the_box_in_halves_of_its_ranges():
    bounds = ((-3.0, 0.0), (1.0, 10.0))
    spec = make_spec("continuous", size=SIZE, action_bounds=bounds)
    dataset = random_dataset("continuous", 5, 0, spec=spec)
    raw = [[-3, 0], [1, 10], [-1, 5], [0, 2.5], [-9, 10.001]]
    dataset.storage.action[:] = np.array(raw)
    action = make_replay([dataset], batch_size="full").next().action[0]
    assert action.dtype == torch.float32
    # What is outside of the bounds is the nearest within.
    expected = [[-1, -1], [1, 1], [0, 0], [0.5, -0.5], [-1, 1]]
    assert action.tolist() == expected
    drawn = make_replay([dataset, dataset], batch_size=64).next().action
    assert drawn.shape == (2, 64, 2)
    assert {tuple(row) for row in drawn[0].tolist()} <= {tuple(map(float, e)) for e in expected}
    assert dataset.storage.action.tolist() == np.float32(raw).tolist()


def test_actions_of_one_dimension_keep_it():
    spec = make_spec("continuous", size=SIZE, action_bounds=((-2.0,), (2.0,)))
    dataset = random_dataset("continuous", 9, 0, spec=spec)
    assert make_replay([dataset]).next().action.shape == (1, 8, 1)


@pytest.mark.parametrize("batch_size", [64, "full"])
def test_rows_that_are_equal_are_kept_once_and_drawn_as_if_they_were_not(monkeypatch, batch_size):
    datasets = [random_dataset("discrete", 2000, seed) for seed in range(2)]
    for dataset in datasets:
        dataset.storage.reward[:] = 0.0
        dataset.storage.reward[::2] = -0.0
    names = ("observation", "action", "reward", "terminated")
    few = make_replay(datasets, batch_size=batch_size).replay
    assert len(few._packed(names).packs[0]) <= 1000
    monkeypatch.setattr(replay_module, "FEWER", 10**9)
    all_of_them = make_replay(datasets, batch_size=batch_size).replay
    assert len(all_of_them._packed(names).packs[0]) == 4000
    for step in range(20):
        drawn = [
            replay.fields(names, replay.feed(names), replay.drawn(names, step))
            for replay in (few, all_of_them)
        ]
        for name in names:
            assert torch.equal(drawn[0][name], drawn[1][name])
            assert torch.equal(drawn[0][name].signbit(), drawn[1][name].signbit())


@pytest.mark.parametrize("kind", ["discrete", "vector"])
@pytest.mark.parametrize("batch_size", [64, "full"])
def test_the_next_action_is_the_data_s_own_and_there_where_that_goes_on(kind, batch_size):
    full = numbered(kind, 40)
    # Episodes of seven steps; one loses a step in its middle, another its last two.
    degraded = full.keep(~np.isin(np.arange(40), [9, 19, 20]), "hole")
    runs = [full, degraded]
    batch = make_replay(runs, batch_size=batch_size).next()
    for run, dataset in enumerate(runs):
        held = set(dataset.indices.tolist())
        seen = set()
        for row, action, followed, weight in zip(
            *(x[run].tolist() for x in (batch.reward, batch.next_action, batch.followed)),
            batch.weight[run].tolist(), strict=True,
        ):  # fmt: skip
            after = int(row) + 1
            goes_on = after in held and after % 7 != 0
            assert followed == goes_on
            if goes_on:
                assert action == full.action[after]
                seen.add(bool(weight))
        assert seen == {True}


def test_the_next_continuous_action_is_in_units_too():
    dataset = random_dataset("continuous", 20, 0, spec=make_spec("continuous", size=SIZE))
    batch = make_replay([dataset], batch_size="full").next()
    goes_on = batch.followed[0, :-1].bool()
    assert 0 < goes_on.sum() < 19
    assert torch.equal(batch.next_action[0, :-1][goes_on], batch.action[0, 1:][goes_on])
