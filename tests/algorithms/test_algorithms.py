"""What holds for every algorithm of `conf/algorithm/`, whoever wrote it."""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from bench import seeding
from bench.settings.run import TrainingConfig
from bench.settings.typed import ConfigError, typed_object
from bench.types import Batch
from tests.support.builders import (
    ALGORITHMS,
    assert_close,
    build_algorithm,
    evaluate,
    from_columns,
    kinds_of,
    make_cohort,
    make_spec,
    of_run,
    random_dataset,
    same,
    settings_of,
    tensors,
    train,
    world,
)

# Two ways to the same number: other order of summation, other kernels. A coupling between runs or
# a wrong setting shows a thousand times larger after as many updates.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

SIZES, SEEDS = (40, 90, 23), (3, 0, 8)
# Enough for one run's numbers to reach another's, were they coupled.
NUM_UPDATES = 12
CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}") for name in ALGORITHMS for kind in kinds_of(name)
]
NUMBERED = [case for case in CASES if case.values[1] != "continuous"]
CONTINUOUS = [case for case in CASES if case.values[1] == "continuous"]
every_case = pytest.mark.parametrize(("name", "kind"), CASES)


def minibatches(name, kind):
    """Return how many minibatches an update asks for in the world of a kind."""
    return build_algorithm(name, kind).minibatches(world(kind).spec)


every_case_with_batches = pytest.mark.parametrize(
    ("name", "kind"), [case for case in CASES if minibatches(*case.values)]
)


def small(name, kind, **settings):
    """Return the algorithm as a table on states and with a small network on vectors.

    Its warm start, or what else comes first, is over after two updates.
    """
    sizes = {"hidden_sizes": [] if kind == "discrete" else [16, 16], "generator_sizes": [16]}
    sizes |= {"follower.hidden_sizes": [16, 16]}
    sizes |= {"model_sizes": [16, 16], "num_models": 2, "horizon": 2, "num_actions": 4}
    return build_algorithm(name, kind, **sizes | {"warm_updates": 2, "model_updates": 2} | settings)


def float_settings(algorithm):
    values = {f.name: getattr(algorithm, f.name) for f in fields(algorithm)}
    return {name: value for name, value in values.items() if isinstance(value, float)}


def varied(name, kind, factors, **settings):
    """Return an algorithm once per factor, by which its float settings differ where they may."""
    versions = []
    for factor in factors:
        chosen = {}
        for setting, value in float_settings(small(name, kind, **settings)).items():
            try:
                small(name, kind, **settings | {setting: factor * value})
                chosen[setting] = factor * value
            except ConfigError:
                continue
        assert "discount" in chosen
        versions.append(small(name, kind, **settings | chosen))
    return versions


@cache
def variants(name, kind):
    return varied(name, kind, (1, 0.7, 0.4))


@cache
def data(kind):
    return [random_dataset(kind, n, seed) for seed, n in enumerate(SIZES)]


def cohort_of(name, kind, runs=(0, 1, 2), **settings):
    """Return a cohort of some of three runs that differ in seed, data and settings."""
    chosen = [(variants(name, kind)[r], data(kind)[r], SEEDS[r]) for r in runs]
    return make_cohort(*map(list, zip(*chosen, strict=True)), **settings)


@cache
def trained_together(name, kind):
    """Return the three runs after all updates, and state and metrics after the first."""
    cohort = train(cohort_of(name, kind), 1)
    first = cohort.state, cohort.metrics
    return train(cohort, NUM_UPDATES - 1), first


@cache
def inputs_of(name, kind, run=1):
    """Return what an update of one run is given: state, summary, batch and noise."""
    cohort = cohort_of(name, kind)
    batch = cohort.replay.batch(cohort.step)
    return (
        of_run(trained_together(name, kind)[0].state, run),
        of_run(cohort.summary, run),
        None if batch is None else of_run(batch, run),
        noise_of(cohort, SEEDS[run]),
    )


def noise_of(cohort, seed):
    """Return the noise of the seed's first update."""
    generator = seeding.torch_generator("noise", seed)
    shapes = cohort.algorithm.noise_shapes(cohort.spec, cohort.replay.batch_size)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def phases_of(algorithm, num_updates=300):
    return sorted({algorithm.phase(step) for step in range(num_updates)})


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_file_sets_every_setting_and_the_object_has_it(name):
    given = settings_of(name)
    algorithm = build_algorithm(name, discount=0.75)
    assert given["name"] == name
    parts = {key for key in given if key.removesuffix("s") in given.keys() - {key}}
    known = {f.name for f in fields(algorithm)}
    assert known == set(given) - {"name", "target", "kinds"} - parts
    assert algorithm.discount == 0.75
    for kind, chosen in given.get("kinds", {}).items():
        if "target" in chosen:
            # Nothing of the learner's other class is in it.
            parts = {key for key in chosen if key.removesuffix("s") in chosen.keys() - {key}}
            own = set(chosen) - {"target"} - parts - set(TrainingConfig.model_fields)
            assert own | {"discount"} == {f.name for f in fields(build_algorithm(name, kind))}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_setting_that_does_not_exist_is_refused(name):
    given = settings_of(name) | {"discount": 0.9}
    del given["name"]
    with pytest.raises(ConfigError, match=r"algorithm\.temprature is not a setting"):
        typed_object(given | {"temprature": 1.0}, "algorithm", ())


@every_case
def test_an_update_called_twice_gives_the_same(name, kind):
    algorithm, inputs = variants(name, kind)[1], inputs_of(name, kind)
    for phase in phases_of(algorithm):
        assert same(algorithm.update(*inputs, phase), algorithm.update(*inputs, phase))


@every_case
def test_an_update_changes_nothing_it_was_given(name, kind):
    algorithm, inputs = variants(name, kind)[1], inputs_of(name, kind)
    before = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, inputs)
    for phase in phases_of(algorithm):
        algorithm.update(*inputs, phase)
    assert same(inputs, before)


@every_case
def test_an_update_keeps_the_shapes_of_the_state(name, kind):
    algorithm, (state, *rest) = variants(name, kind)[1], inputs_of(name, kind)
    updated, metrics = algorithm.update(state, *rest, phases_of(algorithm)[0])
    assert [(x.shape, x.dtype) for x in tensors(updated)] == [
        (x.shape, x.dtype) for x in tensors(state)
    ]
    assert all(value.shape == () for value in metrics.values())
    assert metrics


@every_case
def test_an_update_touches_no_global_generator(name, kind):
    algorithm, inputs = variants(name, kind)[1], inputs_of(name, kind)
    with torch.random.fork_rng():
        torch.rand(3)  # a state that no fixed seed leads to at once
        torch_before = torch.random.get_rng_state()
        numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
        algorithm.update(*inputs, phases_of(algorithm)[0])
        assert torch.equal(torch.random.get_rng_state(), torch_before)
        assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@every_case
def test_the_update_of_a_cohort_is_the_update_of_each_run(name, kind):
    together = trained_together(name, kind)[1]
    cohort = cohort_of(name, kind)
    batch = cohort.replay.batch(cohort.step)
    for run, algorithm in enumerate(variants(name, kind)):
        expected = algorithm.update(
            of_run(cohort.state, run),
            of_run(cohort.summary, run),
            None if batch is None else of_run(batch, run),
            noise_of(cohort, SEEDS[run]),
            algorithm.phase(0),
        )
        assert_close(of_run(together, run), expected, **CLOSE)


@every_case
def test_a_run_alone_is_the_run_in_a_cohort_with_full_batches(name, kind):
    together = train(cohort_of(name, kind, runs=[1, 2], batch_size="full"), 3)
    alone = train(cohort_of(name, kind, runs=[2], batch_size="full"), 3)
    assert_close(of_run(alone.state, 0), of_run(together.state, 1), **CLOSE)
    assert_close(of_run(alone.metrics, 0), of_run(together.metrics, 1), **CLOSE)


@every_case
def test_a_run_that_is_lost_leaves_the_others_alone_bit_for_bit(name, kind):
    together, broken = trained_together(name, kind)[0], cohort_of(name, kind)
    for leaf in tensors(broken.state):
        leaf[1] = torch.nan
    train(broken, NUM_UPDATES)
    assert broken.finite().tolist() == [True, False, True]
    for run in (0, 2):
        assert same(of_run(broken.state, run), of_run(together.state, run))


@every_case
def test_evaluating_on_the_way_changes_nothing_bit_for_bit(name, kind):
    cohort, environments = cohort_of(name, kind), [world(kind, horizon=3)] * 3
    for step in cohort.train(NUM_UPDATES):
        if step in (1, 2, 7):
            evaluate(cohort, environments, list(SEEDS), 2)
    assert same(cohort.state, trained_together(name, kind)[0].state)


@cache
def seeds_zero_one_zero(name, kind):
    """Return three runs that differ in nothing but the seed, before and after five updates."""
    algorithm, dataset = small(name, kind), data(kind)[0]
    cohort = make_cohort([algorithm] * 3, [dataset] * 3, seeds=[0, 1, 0])
    start = cohort.state
    return start, train(cohort, 5)


@every_case
def test_equal_seeds_give_equal_runs(name, kind):
    _, cohort = seeds_zero_one_zero(name, kind)
    assert same(of_run(cohort.state, 0), of_run(cohort.state, 2))


@every_case
def test_different_seeds_give_different_runs_where_anything_is_drawn(name, kind):
    start, cohort = seeds_zero_one_zero(name, kind)
    noise = cohort.algorithm.noise_shapes(cohort.spec, cohort.replay.batch_size)
    draws = minibatches(name, kind) > 0 or bool(noise)
    expected = draws or not same(of_run(start, 0), of_run(start, 1))
    assert same(of_run(cohort.state, 0), of_run(cohort.state, 1)) != expected


def resized(name, kind, index, weight):
    """Return one update on some rows of a batch of ten, with the weights given.

    Noise that comes per row of the batch is taken at the same rows.
    """
    algorithm = variants(name, kind)[1]
    cohort = cohort_of(name, kind, batch_size=10)
    state = of_run(trained_together(name, kind)[0].state, 1)
    summary, batch = of_run(cohort.summary, 1), of_run(cohort.replay.batch(cohort.step), 1)
    axis = 0 if minibatches(name, kind) == 1 else 1
    rows = Batch(*(field.index_select(axis, index) for field in batch))
    noise = noise_of(cohort, SEEDS[1])
    wanted = algorithm.noise_shapes(cohort.spec, len(index))
    for key, values in noise.items():
        for dim, size in enumerate(wanted[key]):
            if size != values.shape[dim]:
                noise[key] = values = values.index_select(dim, index)
    rows = rows._replace(weight=weight.expand_as(rows.weight))
    return algorithm.update(state, summary, rows, noise, phases_of(algorithm)[0])


@every_case_with_batches
def test_rows_of_weight_zero_change_nothing(name, kind):
    ten = torch.arange(10)
    padded = resized(name, kind, ten, (ten < 6).float())
    assert_close(padded, resized(name, kind, ten[:6], torch.ones(6)), **CLOSE)


@every_case_with_batches
def test_a_weight_of_two_counts_like_two_rows(name, kind):
    weight = torch.tensor([1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 2.0, 0.0, 1.0, 1.0])
    repeated = torch.arange(10).repeat_interleave(weight.long())
    weighed = resized(name, kind, torch.arange(10), weight)
    assert_close(weighed, resized(name, kind, repeated, torch.ones(len(repeated))), **CLOSE)


RIGHT = np.array([2, 1, 2])
PLACES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def corridor(kind, seed, num_episodes=120):
    """Return data of a corridor of three states by a behavior that is right in two thirds.

    The right action leads on, and behind the end waits a reward of 1; a wrong one ends the
    episode with nothing. No right action is the first, which an untrained table would choose.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(num_episodes):
        for state in range(3):
            action = RIGHT[state] if rng.random() < 0.6 else rng.integers(3)
            wins = action == RIGHT[state] and state == 2
            ends = action != RIGHT[state] or wins
            rows.append((state, action, float(wins), min(state + 1, 2), ends, episode, state))
            if ends:
                break
    state, action, reward, following, terminated, episode, step = map(
        np.array, zip(*rows, strict=True)
    )
    assert len(set(zip(state, action, strict=True))) == 9
    spec = make_spec(kind, size=3 if kind == "discrete" else 2, v_min=0.0, v_max=1.0)
    if kind == "vector":
        state, following = (
            PLACES[x] + rng.normal(scale=0.1, size=(len(x), 2)) for x in (state, following)
        )
    return from_columns(spec, state, action, reward, following, terminated, episode, step, seed)


def target_practice(seed):
    """Return episodes of one step whose reward falls with the distance from a place's action.

    There are 400 or a few more. The behavior aims there, with noise of a seventh of the range,
    which hardly reaches the bounds.
    """
    rng, n = np.random.default_rng(seed), 400 + 10 * seed
    place = rng.integers(3, size=n)
    action = np.clip(AIMS[place] + rng.normal(scale=0.3, size=(n, 2)), -1, 1)
    reward = -((action - AIMS[place]) ** 2).sum(-1)
    observation = PLACES[place] + rng.normal(scale=0.1, size=(n, 2))
    spec = make_spec(
        "continuous", size=2, v_min=-8.0, v_max=0.0, uniform_regret=1.0, uniform_value=-1.0
    )
    steps = np.arange(n)
    return from_columns(
        spec, observation, action, reward, observation, np.ones(n), steps, 0 * steps, seed
    )


AIMS = np.array([[0.3, -0.2], [-0.3, 0.0], [0.1, 0.3]])


def on_a_trivial_problem(name, kind, runs=(0, 1, 2), mode="plain"):
    """Return a cohort of some of three runs that should solve it; their settings differ little."""
    rates = {"learning_rate": 0.01, "actor_learning_rate": 0.01, "model_learning_rate": 0.01}
    rates |= {"polyak": 0.05} if kind == "continuous" else {}
    if (name, kind) == ("stackelberg", "continuous"):
        # Its leader has to be slower than its follower.
        rates |= {"learning_rate": 0.001, "follower.learning_rate": 0.01, "cloning_rate": 0.01}
    rates |= {"warm_updates": 100, "model_updates": 100, "real_share": 0.5}
    versions = varied(name, kind, (1, 0.97, 0.94), **rates)
    datasets = [target_practice(r) if kind == "continuous" else corridor(kind, r) for r in runs]
    return make_cohort([versions[r] for r in runs], datasets, runs, batch_size=64, mode=mode)


@cache
def trained_traced(name, kind):
    """Return such runs after all updates, and state and metrics after the first few."""
    cohort = train(on_a_trivial_problem(name, kind, mode="traced"), NUM_UPDATES)
    first = cohort.state, cohort.metrics
    return train(cohort, 300 - NUM_UPDATES), first


@every_case
def test_a_run_alone_is_the_run_in_a_cohort_traced_or_not(name, kind):
    together = trained_traced(name, kind)[1]
    alone = train(on_a_trivial_problem(name, kind, runs=[2]), NUM_UPDATES)
    assert_close(of_run((alone.state, alone.metrics), 0), of_run(together, 2), **CLOSE)


@every_case
def test_every_program_of_its_update_is_rewritten(name, kind):
    """One operation that changes a tensor in place would leave all of an update as it is, slow."""
    updates = trained_traced(name, kind)[0]._updates._updates
    programs = [made for update in updates.values() for made, _ in update._programs.values()]
    assert programs
    assert all(made.ahead is not None for made in programs)


@every_case
def test_it_solves_a_trivial_problem(name, kind):
    cohort = trained_traced(name, kind)[0]
    places = np.arange(3) if kind == "discrete" else PLACES.astype(np.float32)
    actions = cohort.policy(np.stack([places] * 3)).mode()
    if kind == "continuous":
        np.testing.assert_allclose(actions, np.stack([AIMS] * 3), atol=0.2)
    else:
        assert actions.tolist() == [RIGHT.tolist()] * 3


@pytest.mark.parametrize(("name", "kind"), CONTINUOUS)
def test_the_policy_acts_within_the_bounds(name, kind):
    cohort = trained_together(name, kind)[0]
    raw = np.stack([dataset.observation[:20] for dataset in data(kind)])
    policy = cohort.policy(raw)
    assert policy.mode().shape == (3, 20, cohort.spec.action_size)
    assert (policy.mode().abs() <= 1).all()
    (second,) = cohort.policy(raw[1:2], slice(1, 2)).mode()
    torch.testing.assert_close(second, policy.mode()[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), NUMBERED)
def test_the_policy_gives_a_probability_for_every_action(name, kind):
    cohort = trained_together(name, kind)[0]
    raw = np.stack([dataset.observation[:20] for dataset in data(kind)])
    policy = cohort.policy(raw)
    probabilities = policy.probabilities()
    assert probabilities.shape == (3, 20, cohort.spec.num_actions)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 20))
    assert torch.equal(policy.mode(), probabilities.argmax(-1))


@every_case
def test_asking_the_policy_changes_nothing(name, kind):
    cohort = trained_together(name, kind)[0]
    before = tree_map(torch.clone, cohort.state)
    cohort.policy(np.stack([dataset.observation[:20] for dataset in data(kind)]))
    assert same(cohort.state, before)
