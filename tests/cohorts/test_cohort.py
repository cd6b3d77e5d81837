"""Runs trained together: what they share, what each keeps for itself, what is refused."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from algorithms.base import Algorithm
from algorithms.distributions import Greedy
from bench import seeding
from bench.types import Batch
from tests.support.builders import (
    ALGORITHMS,
    build_algorithm,
    kinds_of,
    make_cohort,
    of_run,
    random_dataset,
    same,
    tensors,
    train,
    world,
)


@dataclass(frozen=True)
class Witness(Algorithm):
    """Learns nothing and reports what every update was given."""

    shift: float = 0.0
    num_minibatches: ClassVar[int] = 1

    def noise_shapes(self, spec, batch_size):
        return {"rows": (batch_size, 2), "few": (3,)}

    def phase(self, step):
        return step % 3

    def init(self, spec, summary, generator):
        return {"start": torch.rand(2, generator=generator), "total": torch.zeros(())}

    def update(self, state, summary, batch, noise, phase):
        seen = {f"noise_{name}": values for name, values in noise.items()}
        seen |= {} if batch is None else {"rewards": batch.reward}
        seen |= {
            "phase": torch.full((), float(phase)),
            "shift": torch.as_tensor(self.shift),
            "num_transitions": summary.num_transitions,
        }
        return {**state, "total": state["total"] + self.shift}, seen

    def policy(self, state, observation):
        return Greedy(observation[..., :2] + self.shift)


class ThreeBatches(Witness):
    num_minibatches: ClassVar[int] = 3


class NoBatches(Witness):
    num_minibatches: ClassVar[int] = 0


def witnesses(
    num_runs=3, kind="vector", sizes=(30, 70, 12), seeds=(4, 0, 9), make=Witness, **settings
):
    """Return a cohort of witnesses whose runs differ in shift, seed and data."""
    algorithms = [make(discount=0.9, shift=0.5 * run) for run in range(num_runs)]
    datasets = [random_dataset(kind, n, seed) for seed, n in enumerate(sizes[:num_runs])]
    return make_cohort(algorithms, datasets, seeds[:num_runs], **settings)


def reports(cohort, num_updates):
    """Return what was seen at each update, ``[update, run, ...]`` by name."""
    rows = []
    for _ in cohort.train(num_updates):
        rows.append(cohort.metrics)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_training_counts_updates():
    cohort = witnesses()
    assert list(cohort.train(4)) == [1, 2, 3, 4]
    assert list(cohort.train(2)) == [5, 6]
    assert cohort.step == 6


def test_going_on_after_a_pause_is_as_if_there_had_been_none(device):
    algorithm = build_algorithm("cql", learning_rate=0.01, hidden_sizes=[8])
    dataset = random_dataset("vector", 40, 0)
    steady, paused = (make_cohort([algorithm], [dataset], device=device) for _ in "ab")
    train(steady, 7)
    updates = paused.train(100)
    assert [next(updates) for _ in range(3)] == [1, 2, 3]
    updates.close()
    train(paused, 4)
    assert same(steady.state, paused.state)


def test_updates_take_the_phase_of_their_step():
    assert reports(witnesses(), 7)["phase"][:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_every_run_has_its_own_float_settings_data_and_seed():
    seen = reports(witnesses(), 2)
    assert seen["shift"][1].tolist() == [0.0, 0.5, 1.0]
    assert seen["num_transitions"][1].tolist() == [30, 70, 12]


def test_state_is_carried_from_update_to_update():
    assert train(witnesses(), 5).state["total"].tolist() == [0.0, 2.5, 5.0]


def test_the_policy_has_every_runs_own_settings_and_normalization():
    cohort = witnesses()
    raw = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    scores = cohort.policy(raw).scores
    assert scores.shape == (3, 5, 2)
    for run, seed in enumerate((0, 1, 2)):
        data = random_dataset("vector", (30, 70, 12)[run], seed).observation
        encoded = (raw[run] - data.mean(0)) / (data.std(0) + 1e-3)
        np.testing.assert_allclose(scores[run], encoded[:, :2] + 0.5 * run, rtol=1e-4, atol=1e-5)


def test_the_policy_takes_observations_of_any_leading_shape():
    cohort = witnesses()
    raw = np.random.default_rng(0).normal(size=(3, 5, 2, 4)).astype(np.float32)
    scores = cohort.policy(raw).scores
    assert scores.shape == (3, 5, 2, 2)
    torch.testing.assert_close(scores[:, 4], cohort.policy(raw[:, 4]).scores)


def test_a_run_starts_as_its_algorithm_does_from_the_seeds_own_generator():
    spec = replace(world("discrete").spec, v_max=3.0)
    datasets = [random_dataset("discrete", 30, 0), random_dataset("discrete", 50, 1, spec=spec)]
    algorithm = build_algorithm("bcq", hidden_sizes=[8], initial_value="v_max")
    cohort = make_cohort([algorithm] * 2, datasets, seeds=[7, 0])
    assert datasets[0].spec.v_max != 3.0
    for run, (seed, dataset) in enumerate(zip([7, 0], datasets, strict=True)):
        summary = of_run(cohort.summary, run)
        expected = algorithm.init(dataset.spec, summary, seeding.torch_generator("init", seed))
        assert same(of_run(cohort.state, run), expected)


def test_noise_is_uniform_and_new_at_every_update():
    cohort = witnesses(batch_size=100)
    seen = reports(cohort, 40)
    noise = seen["noise_rows"]
    assert noise.shape == (40, 3, 100, 2)
    assert seen["noise_few"].shape == (40, 3, 3)
    assert 0 <= noise.min() < 0.001
    assert 0.999 < noise.max() < 1
    # Five standard errors of a mean.
    assert abs(noise.mean().item() - 0.5) < 5 * np.sqrt(1 / 12 / noise.numel())
    assert len(noise[:, :, 0, 0].unique()) == 120


def test_noise_is_the_same_alone_and_in_company():
    together = reports(witnesses(), 4)
    for run, (seed, n) in enumerate(((4, 30), (0, 70), (9, 12))):
        alone = make_cohort([Witness(0.9)], [random_dataset("vector", n, run)], [seed])
        seen = reports(alone, 4)
        for name in ("noise_rows", "noise_few"):
            assert torch.equal(together[name][:, run], seen[name][:, 0])


def test_noise_for_full_batches_is_the_same_alone_and_in_company():
    together = reports(witnesses(2, batch_size="full"), 2)["noise_rows"]
    alone = reports(witnesses(1, batch_size="full"), 2)["noise_rows"]
    assert torch.equal(together[:, 0, :30], alone[:, 0])


def test_minibatches_are_those_of_the_replay():
    cohort, other = witnesses(), witnesses()
    expected = torch.stack([other.replay.batch(step).reward for step in range(70)])
    assert torch.equal(reports(cohort, 70)["rewards"], expected)


def test_an_update_gets_as_many_minibatches_as_it_asks_for():
    assert reports(witnesses(), 1)["rewards"].shape == (1, 3, 16)
    assert reports(witnesses(make=ThreeBatches), 1)["rewards"].shape == (1, 3, 3, 16)
    assert "rewards" not in reports(witnesses(make=NoBatches), 1)


def test_no_global_generator_is_touched():
    before = torch.random.get_rng_state()
    train(witnesses(), 2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_asking_for_a_diagnosis_changes_nothing():
    """A learner tells more when asked, of the last batch; nothing before the first update."""
    data = [random_dataset("vector", n, n) for n in (60, 90)]
    algorithm = build_algorithm("stackelberg", hidden_sizes=[4], num_features=5)
    asked, other = (make_cohort([algorithm] * 2, data) for _ in range(2))
    assert asked.diagnose() == {}
    for _ in asked.train(4):
        told = asked.diagnose()
    assert {value.shape for value in told.values()} == {(2,)}
    assert same(asked.state, train(other, 4).state)
    assert same(told, other.diagnose())


def test_a_diagnosis_is_the_same_alone_and_in_company():
    data = [random_dataset("vector", n, n) for n in (60, 90)]
    algorithm = build_algorithm("stackelberg", hidden_sizes=[4], num_features=5)
    together = train(make_cohort([algorithm] * 2, data), 3).diagnose()
    alone = train(make_cohort([algorithm], data[1:], seeds=[1]), 3).diagnose()
    for name, value in alone.items():
        torch.testing.assert_close(value[0], together[name][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["plain", "traced"])
def test_a_run_that_is_lost_is_found_and_takes_no_other_with_it(device, mode):
    datasets = [random_dataset("vector", 30, seed) for seed in range(3)]
    healthy, broken = (
        make_cohort(
            [build_algorithm("bc", learning_rate=x) for x in rates],
            datasets,
            device=device,
            mode=mode,
        )
        for rates in ((0.01, 0.02, 0.03), (0.01, 1e38, 0.03))
    )
    assert broken.finite().tolist() == [True, True, True]
    assert train(healthy, 10).finite().tolist() == [True, True, True]
    assert train(broken, 10).finite().tolist() == [True, False, True]
    for run in (0, 2):
        assert same(of_run(broken.state, run), of_run(healthy.state, run))


def test_a_single_infinite_number_is_found():
    cohort = make_cohort([build_algorithm("fqi")] * 3, [random_dataset("vector", 30, 0)] * 3)
    cohort.state.critic[0]["bias"][2, 5] = torch.inf
    assert cohort.finite().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fqi", {"target_interval": 7}),
        ("fqi", {"initial_value": "v_max"}),
        ("fqi", {"hidden_sizes": [8, 8]}),
        ("cql", {}),
    ],
)
def test_settings_that_are_not_floats_cannot_differ(name, settings):
    algorithms = [build_algorithm("fqi"), build_algorithm(name, **settings)]
    with pytest.raises(ValueError, match="A cohort shares all but float settings"):
        make_cohort(algorithms, [random_dataset("vector", 30, 0)] * 2)


@pytest.mark.parametrize("change", [{"name": "other"}, {"discount": 0.8}, {"horizon": 3}])
def test_environments_cannot_differ(change):
    spec = replace(world("vector").spec, **change)
    datasets = [random_dataset("vector", 30, 0), random_dataset("vector", 30, 0, spec=spec)]
    with pytest.raises(ValueError, match="A cohort shares one environment"):
        make_cohort([build_algorithm("fqi")] * 2, datasets)


def test_reward_ranges_of_instances_may_differ():
    spec = replace(world("vector").spec, v_min=-3.0, reward_min=-2.0, v_max=9.0, reward_max=4.0)
    datasets = [random_dataset("vector", 30, 0), random_dataset("vector", 30, 0, spec=spec)]
    cohort = make_cohort([build_algorithm("fqi")] * 2, datasets)
    assert cohort.num_runs == 2


@pytest.mark.parametrize("normalization", ["data", "full", "none"])
def test_the_normalization_reaches_the_minibatches(normalization):
    dataset = random_dataset("vector", 40, 0)
    cohort = make_cohort([Witness(0.9)], [dataset], batch_size="full", normalization=normalization)
    observation = dataset.observation
    if normalization != "none":
        observation = (observation - observation.mean(0)) / (observation.std(0) + 1e-3)
    batch = cohort.replay.batch(0)
    assert isinstance(batch, Batch)
    np.testing.assert_allclose(batch.observation[0], observation, rtol=1e-4, atol=1e-5)


CASES = [
    (name, kind) for name in ALGORITHMS for kind in kinds_of(name) if kind != "vector"
]  # fmt: skip


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_algorithm_learns_the_same_on_a_gpu(name, kind, device):
    datasets = [random_dataset(kind, n, seed) for seed, n in enumerate((30, 50))]
    here, there = (
        train(make_cohort([build_algorithm(name, kind)] * 2, datasets, device=where), 3)
        for where in ("cpu", device)
    )
    for left, right in zip(tensors(here.state), tensors(there.state), strict=True):
        torch.testing.assert_close(left, right.cpu(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_everything_an_update_needs_is_on_the_cohorts_device(name, kind):
    # The device `meta` holds shapes instead of numbers and refuses to mix with the CPU.
    datasets = [random_dataset(kind, n, seed) for seed, n in enumerate((30, 50))]
    cohort = make_cohort([build_algorithm(name, kind)] * 2, datasets, device="meta")
    train(cohort, 2)
    assert {leaf.device.type for leaf in tensors(cohort.state)} == {"meta"}
