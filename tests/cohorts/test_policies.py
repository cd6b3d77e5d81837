"""What policies say is the same however often they are asked."""

import numpy as np
import pytest
import torch

from bench.cohorts.policies import WORTH_TRACING
from tests.support.builders import (
    ALGORITHMS,
    build_algorithm,
    kinds_of,
    make_cohort,
    random_dataset,
    same,
    train,
)

CASES = [(name, kind) for name in ALGORITHMS for kind in kinds_of(name)]


def cohort_of(name, kind):
    sizes = {"hidden_sizes": [] if kind == "discrete" else [8], "generator_sizes": [8]}
    sizes |= {"model_sizes": [8], "num_models": 2, "horizon": 2, "num_actions": 3}
    algorithm = build_algorithm(name, kind, **sizes)
    return make_cohort([algorithm] * 2, [random_dataset(kind, 50, seed) for seed in (0, 1)], [3, 4])


def asked_often(cohort, *given):
    """Return the last answer, which is a traced one, and the first."""
    answers = [cohort.policy(*given) for _ in range(WORTH_TRACING + 1)]
    return answers[-1], answers[0]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_who_is_asked_often_says_the_same_bit_for_bit(name, kind):
    cohort = cohort_of(name, kind)
    raw = np.stack([random_dataset(kind, 9, seed).observation for seed in (5, 6)])
    with torch.inference_mode():  # as evaluations do
        assert same(*asked_often(cohort, raw))
    assert cohort._policies._programs
    train(cohort, 2)
    # Of the states as they are now: a cohort that was never asked before says so, too.
    new = cohort.policy(raw)
    assert same(new, train(cohort_of(name, kind), 2).policy(raw))
    alone = slice(1, 2)
    assert same(*asked_often(cohort, raw[alone], alone))
    torch.testing.assert_close(
        tuple(cohort.policy(raw[alone], alone)), tuple(x[alone] for x in new), rtol=1e-5, atol=1e-6
    )
