"""What peers draw from is what learners see."""

from dataclasses import replace

import numpy as np
import pytest

from bench.cohorts.cohort import Member
from bench.peers.transitions import transitions
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


def test_d3rlpy_draws_pairs_of_them():
    pytest.importorskip("d3rlpy", reason="d3rlpy is not installed")
    from bench.peers.with_d3rlpy import dataset_of

    data = random_dataset("continuous", 40, seed=0)
    columns = transitions(Member(build_algorithm("td3_bc"), 0, data, data))
    ours = {
        (*left, *right)
        for left, right in zip(
            columns.observation.tolist(), columns.next_observation.tolist(), strict=True
        )
    }
    drawn = dataset_of(columns).sample_transition_batch(200)
    goes_on = drawn.terminals[:, 0] == 0
    assert 0 < goes_on.sum() < 200
    lefts, rights = drawn.observations[goes_on], drawn.next_observations[goes_on]
    pairs = zip(lefts.tolist(), rights.tolist(), strict=True)
    assert {(*left, *right) for left, right in pairs} <= ours
