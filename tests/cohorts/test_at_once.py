"""Several updates as one call: the same bits as one by one, and when they are one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cohorts import at_once
from bench.cohorts.at_once import MOST_UPDATES, AtOnce, updates_at_once
from bench.programs import gpu
from tests.support.builders import (
    ALGORITHMS,
    assert_close,
    build_algorithm,
    kinds_of,
    make_cohort,
    random_dataset,
    same,
    tensors,
    train,
)
from tests.support.graphs import replay_here

# Networks and tables, noise and none, phases in turn, targets that are copied, a game.
NAMES = ["td3_bc-continuous", "cql-vector", "iql-discrete", "stackelberg-discrete", "atac-vector"]
ALL = [f"{name}-{kind}" for name in ALGORITHMS for kind in kinds_of(name)]
USUAL = {"device": "cpu", "capture": replay_here}
CASES = [pytest.param(name, {}, id=name) for name in NAMES]
CASES += [pytest.param("iql-vector", {"batch_size": "full"}, id="full batches")]
CASES += [
    pytest.param(name, on_gpu, id=f"{name}-cuda-{number}", marks=pytest.mark.gpu)
    for number, (names, how) in enumerate(
        [(ALL, {}), (NAMES, {"mode": "compiled"}), (NAMES, {"batch_size": "full"})]
    )
    for name in names
    for on_gpu in [{"device": "cuda", "capture": None, **how}]
]


def cohort_of(case, **settings):
    """Return two runs with small networks, three updates a call unless another number is said."""
    name, kind = case.split("-")
    algorithm = build_algorithm(
        name, kind, hidden_sizes=[8], warm_updates=2, policy_interval=2, target_every=4
    )
    datasets = [random_dataset(kind, n, seed) for seed, n in enumerate((30, 50))]
    own = {"mode": "traced", "at_once": 3, **USUAL}
    return make_cohort([algorithm] * 2, datasets, **own | settings)


@pytest.mark.parametrize(("case", "how"), CASES)
def test_calls_leave_the_bits_of_updates_one_by_one(case, how):
    if "device" in how:
        gpu.set_up()
    cohort, uncaptured, single = (cohort_of(case, at_once=n, **how) for n in (3, 3, 1))
    uncaptured._calls._captures = False
    # Between calls some updates one by one: those before a multiple of eight.
    steps = list(cohort.train(29, within=8))
    assert steps == [3, 6, 7, 8, 11, 14, 15, 16, 19, 22, 23, 24, 27, 28, 29]
    assert cohort._calls._replayed
    for more in (29, 3):
        train(single, more)
        list(uncaptured.train(more, within=8))
        assert cohort.step == single.step == uncaptured.step
        assert same(cohort.state, uncaptured.state)
        assert same(cohort.metrics, uncaptured.metrics)
        # To a GPU it is another thing how states lie in memory where a call begins.
        apart = {"rtol": 1e-3, "atol": 1e-4} if "device" in how else {"rtol": 0, "atol": 0}
        assert_close(cohort.state, single.state, **apart)
        list(cohort.train(3, within=8))


def test_after_a_call_metrics_and_diagnoses_are_those_of_its_last_update():
    cohort, single = (train(cohort_of("stackelberg-discrete", at_once=n), 18) for n in (3, 1))
    assert same(cohort.metrics, single.metrics)
    assert same(cohort.diagnose(), single.diagnose())


def test_what_was_handed_out_stays_as_it_was():
    cohort = train(cohort_of("td3_bc-continuous"), 18)
    state, saved = cohort.state, cohort.snapshot()
    before = [x.clone() for x in tensors(state)], [x.clone() for x in tensors(saved)]
    train(cohort, 12)
    assert same((tensors(state), tensors(saved)), before)


def test_a_cohort_goes_on_from_a_snapshot_as_if_uninterrupted():
    cohort = train(cohort_of("td3_bc-continuous"), 18)
    saved = cohort.snapshot()
    train(cohort, 12)
    for start in (18, 20):
        # From the middle of a call, too.
        again = cohort_of("td3_bc-continuous", at_once=1 if start == 20 else 3)
        again.restore(saved)
        train(again, start - 18)
        other = cohort_of("td3_bc-continuous")
        other.restore(again.snapshot())
        train(other, 30 - start)
        assert same(other.state, cohort.state)


def test_calls_start_at_multiples_and_end_before_evaluations_and_the_end():
    calls = AtOnce(cohort_of("bc-vector")._updates, 4, replay_here)

    def starts(end, within):
        return [step for step in range(end) if calls.starts_at(step, end, within)]

    assert starts(17, None) == [0, 4, 8, 12]
    assert starts(15, None) == [0, 4, 8]
    assert starts(25, 10) == [0, 4, 10, 14, 20]
    assert starts(9, 3) == []
    assert not AtOnce(None, 1, replay_here).starts_at(0, 10, None)


@pytest.mark.parametrize(
    ("eval_every", "number"),
    [
        (1000, 20), (250, 10), (16, 16), (26, 13), (3, 3), (1, 1), (25, 5),
        (58, 19),  # three calls and an update; 20 would leave eighteen
        (997, 12), (10**6, MOST_UPDATES),
    ],
)  # fmt: skip
def test_a_call_makes_as_many_updates_as_ask_least_of_python(eval_every, number):
    assert updates_at_once("auto", eval_every, "cuda", "traced") == number


@pytest.mark.parametrize(
    ("asked", "device", "mode", "number"),
    [
        (7, "cuda", "traced", 7),
        (5000, "cuda", "compiled", 1000),
        ("auto", "cuda", "plain", 1),
        ("auto", "cpu", "compiled", 1),
        (7, "cpu", "traced", 1),
    ],
)
def test_a_gpu_makes_as_many_as_asked_up_to_an_evaluation(asked, device, mode, number):
    assert updates_at_once(asked, 1000, device, mode) == number


def test_copies_lie_in_memory_as_states_do():
    cohort = train(cohort_of("td3_bc-continuous"), 18)
    strides = [x.stride() for x in cohort._leaves]
    assert strides != [x.clone().stride() for x in cohort._leaves]
    assert [x.stride() for x in cohort.snapshot()["state"]] == strides


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_what_cannot_be_captured_is_made_one_by_one_and_said_once(error):
    tried = []

    def refuse(run):
        tried.append(run)
        raise error("operation not permitted\nand more")

    cohort = cohort_of("td3_bc-continuous", capture=refuse)
    with pytest.warns(UserWarning, match=r"one by one, slower, .*: operation not permitted$"):
        train(cohort, 30)
    # There are two kinds of calls.
    assert len(tried) == 1
    assert same(cohort.state, train(cohort_of("td3_bc-continuous", at_once=1), 30).state)


class Inexact(TorchDispatchMode):
    """Makes products a little larger than they are."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        product = func is torch.ops.aten.mul.Tensor and result.is_floating_point()
        return result * 1.0001 if product else result


def inexact(run):
    """Capture something else."""
    with Inexact():
        run()
    return lambda: None


def frozen(run):
    """Capture results, and nothing that makes them."""
    run()
    return lambda: None


@pytest.mark.parametrize("wrong", [inexact, frozen])
def test_what_replays_other_numbers_is_made_one_by_one_and_said(wrong):
    cohort = cohort_of("cql-vector", capture=wrong)
    with pytest.warns(UserWarning, match="they give other numbers than they should"):
        train(cohort, 30)
    assert same(cohort.state, train(cohort_of("cql-vector", at_once=1), 30).state)


def test_more_kinds_of_calls_than_graphs_are_made_one_by_one(monkeypatch):
    monkeypatch.setattr(at_once, "MOST_GRAPHS", 1)
    cohort = train(cohort_of("td3_bc-continuous"), 30)
    assert len(cohort._calls._replayed) == 1
    assert same(cohort.state, train(cohort_of("td3_bc-continuous", at_once=1), 30).state)
