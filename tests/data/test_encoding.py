"""Observations as algorithms see them, against numpy and by hand."""

import numpy as np
import pytest
import torch

from algorithms import networks
from bench.cohorts.cohort import Cohort, Member
from bench.data.encoding import ORDINARY_STD, STD_EPSILON, Encoder, standard_scale, statistics
from tests.support.builders import (
    build_algorithm,
    from_columns,
    make_cohort,
    make_spec,
    of_run,
    random_dataset,
)

SPEC = make_spec("vector", size=3)


def dataset_of(observation):
    n = len(observation)
    nothing = np.zeros(n, dtype=int)
    return from_columns(
        make_spec("vector", size=observation.shape[1]),
        observation, nothing, nothing, observation, nothing, nothing, np.arange(n),
    )  # fmt: skip


def test_states_are_their_numbers():
    encoded = Encoder(make_spec(size=4), [np.zeros(4)] * 2, [np.ones(4)] * 2)(
        torch.tensor([[0, 3], [2, 2]])
    )
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == [[0, 3], [2, 2]]


@pytest.mark.parametrize("between", [(), (5,), (5, 4)])
def test_vectors_are_standardised_with_their_own_runs_statistics(between):
    rng = np.random.default_rng(0)
    means, scales = rng.normal(size=(2, 3)), rng.random((2, 3))
    raw = rng.normal(size=(2, *between, 3)).astype(np.float32)
    encoded = Encoder(SPEC, list(means), list(scales))(torch.as_tensor(raw))
    expected = np.stack([(raw[run] - means[run]) / scales[run] for run in (0, 1)])
    assert encoded.dtype == torch.float32
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


def test_a_dimension_that_never_varies_is_zero_and_not_infinite():
    observation = np.random.default_rng(0).normal(size=(50, 3))
    observation[:, 1] = 7.0
    dataset = dataset_of(observation)
    encoder = Encoder(SPEC, *([x] for x in statistics(dataset, dataset, "data")))
    encoded = encoder(torch.as_tensor(dataset.observation.copy())[None])[0]
    assert (encoded[:, 1] == 0).all()
    # Whatever is met in that dimension later: nothing says how large a difference would be.
    beyond = encoder(torch.tensor([[0.0, 8.0, 0.0]]))
    assert beyond[0, 1].item() == 0


def test_columns_of_ordinary_size_are_divided_by_a_thousandth_more_than_their_std():
    std = np.geomspace(ORDINARY_STD, 1e6, 50, dtype=np.float32)
    np.testing.assert_array_equal(standard_scale(0 * std, std), std + np.float32(STD_EPSILON))
    assert (STD_EPSILON, ORDINARY_STD) == (1e-3, 2e-3)


@pytest.mark.parametrize("units", [1e-30, 1e-10, 1e-6, 1e-4, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("normalization", ["data", "full"])
def test_the_units_of_observations_do_not_matter(units, normalization):
    raw = np.random.default_rng(0).normal([0, 1, -2], [1, 0.1, 3], (500, 3))
    dataset = dataset_of((raw * units).astype(np.float32))
    encoder = Encoder(SPEC, *([x] for x in statistics(dataset, dataset, normalization)))
    encoded = encoder(torch.as_tensor(dataset.observation.copy())[None])[0]
    expected = (raw - raw.mean(0)) / raw.std(0)
    np.testing.assert_allclose(encoded, expected, rtol=0.03, atol=1e-4)


def test_a_column_is_constant_by_its_own_size_whatever_that_is():
    mean = np.array([1e-5, 1e-5, 1e5, 1e5, 0.0])
    std = np.array([1e-8, 1e-14, 1.0, 1e-3, 1e-20])
    np.testing.assert_array_equal(np.isinf(standard_scale(mean, std)), [0, 1, 0, 1, 0])


@pytest.mark.parametrize(("normalization", "source"), [("data", "left"), ("full", "full")])
def test_statistics_come_from_the_data_that_the_setting_names(normalization, source):
    full = random_dataset("vector", 80, 0, spec=make_spec("vector"))
    left = full.keep(full.observation[:, 0] > 0, "half")
    mean, scale = statistics(left, full, normalization)
    rows = {"left": left, "full": full}[source].observation.astype(np.float64)
    np.testing.assert_allclose(mean, sum(rows) / len(rows), rtol=1e-5, atol=1e-6)
    variance = sum((row - rows.mean(0)) ** 2 for row in rows) / len(rows)
    np.testing.assert_allclose(scale, np.sqrt(variance) + STD_EPSILON, rtol=1e-5)


def test_without_normalization_vectors_stay_as_they_are():
    full = random_dataset("vector", 80, 0, spec=make_spec("vector"))
    encoder = Encoder(full.spec, *([x] for x in statistics(full, full, "none")))
    raw = torch.as_tensor(full.observation)
    assert torch.equal(encoder(raw[None])[0], raw)


@pytest.mark.parametrize("normalization", ["data", "full", "none"])
def test_states_are_never_standardised(normalization):
    dataset = random_dataset("discrete", 40, 0)
    encoder = Encoder(dataset.spec, *([x] for x in statistics(dataset, dataset, normalization)))
    encoded = encoder(torch.as_tensor(dataset.observation)[None])[0]
    np.testing.assert_array_equal(encoded, dataset.observation)


def test_many_rows_far_from_the_origin_are_standardised_too():
    rng = np.random.default_rng(0)
    observation = (1000 + rng.standard_normal((300_000, 3), dtype=np.float32)).astype(np.float32)
    dataset = dataset_of(observation)
    mean, scale = statistics(dataset, dataset, "data")
    np.testing.assert_allclose(mean, observation.mean(0, dtype=np.float64), atol=0.01)
    np.testing.assert_allclose(scale, observation.std(0, dtype=np.float64), atol=0.01)


@pytest.mark.parametrize("normalization", ["data", "full", "none"])
def test_the_statistics_of_training_wrap_evaluation(normalization):
    full = [random_dataset("vector", n, seed) for seed, n in enumerate((60, 90))]
    left = [dataset.keep(dataset.observation[:, 0] > 0, "half") for dataset in full]
    algorithm = build_algorithm("cql", hidden_sizes=[8])
    members = [Member(algorithm, s, d, f) for s, (d, f) in enumerate(zip(left, full, strict=True))]
    cohort = Cohort(members, "full", normalization)
    batch = cohort.replay.batch(cohort.step)
    for run, dataset in enumerate(left):
        raw, source = dataset.observation, (dataset if normalization == "data" else full[run])
        expected = raw
        if normalization != "none":
            expected = (raw - source.observation.mean(0)) / (source.observation.std(0) + 1e-3)
        training = batch.observation[run, : len(dataset)]
        np.testing.assert_allclose(training, expected, rtol=1e-4, atol=1e-5)
        acting = cohort.policy(np.stack([raw] * 2)).scores[run]
        torch.testing.assert_close(
            acting, networks.apply(of_run(cohort.state, run).critic, training)
        )


def test_runs_of_a_cohort_are_standardised_as_they_are_alone():
    datasets = [random_dataset("vector", n, seed) for seed, n in enumerate((60, 90))]
    algorithms = [build_algorithm("cql")] * 2
    together = make_cohort(algorithms, datasets).encoder
    for run, dataset in enumerate(datasets):
        alone = make_cohort(algorithms[:1], [dataset]).encoder
        assert torch.equal(together.mean[run], alone.mean[0])
        assert torch.equal(together.scale[run], alone.scale[0])
    assert not torch.equal(together.mean[0], together.mean[1])
