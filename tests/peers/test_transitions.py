"""What peers draw from is what learners see."""

from dataclasses import replace

import numpy as np
import pytest

from bench.cohorts.cohort import Member
from bench.peers.transitions import transitions
from bench.peers.with_d3rlpy import NAMES, D3rlpyRun
from tests.support.builders import build_algorithm, random_dataset, world


def test_transitions_are_encoded_and_rewards_scaled():
    spec = replace(world("continuous").spec, uniform_regret=4.0)
    data = random_dataset("continuous", 40, seed=0, spec=spec)
    columns = transitions(Member(build_algorithm("td3_bc"), 0, data, data))
    assert columns.observation.mean(0) == pytest.approx(0, abs=1e-5)
    assert columns.observation.std(0) == pytest.approx(1, abs=1e-2)
    assert np.abs(columns.action).max() <= 1
    assert columns.reward == pytest.approx(data.reward * 10 / 4, rel=1e-5)
    assert columns.terminated.tolist() == data.terminated.tolist()


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_d3rlpy_draws_pairs_of_them(name, kind):
    pytest.importorskip("d3rlpy", reason="d3rlpy is not installed")
    world_kind = "vector" if kind == "discrete" else kind
    algorithm = build_algorithm(name, world_kind, hidden_sizes=(8, 8))
    data = random_dataset(world_kind, 40, seed=0)
    columns = transitions(Member(algorithm, 0, data, data))
    run = D3rlpyRun(NAMES[name, kind], algorithm, columns, 16)
    run.train(2)
    ours = {
        (*left, *right)
        for left, right in zip(
            columns.observation.tolist(), columns.next_observation.tolist(), strict=True
        )
    }
    drawn = run.data.sample_transition_batch(200)
    goes_on = drawn.terminals[:, 0] == 0
    assert 0 < goes_on.sum() < 200
    lefts, rights = drawn.observations[goes_on], drawn.next_observations[goes_on]
    pairs = zip(lefts.tolist(), rights.tolist(), strict=True)
    assert {(*left, *right) for left, right in pairs} <= ours
