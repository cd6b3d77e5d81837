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


def cohort_of(name, kind, device):
    sizes = {"hidden_sizes": [] if kind == "discrete" else [8], "generator_sizes": [8]}
    sizes |= {"model_sizes": [8], "num_models": 2, "horizon": 2, "num_actions": 3}
    # Settings that policies know of differ between the runs.
    algorithms = [
        build_algorithm(name, kind, **sizes, threshold=share, perturbation=share)
        for share in (0.1, 0.6)
    ]
    datasets = [random_dataset(kind, 50, seed) for seed in (0, 1)]
    return make_cohort(algorithms, datasets, [3, 4], device=device)


def asked_often(cohort, *given):
    """Return the last answer, which is a traced one, and the first."""
    answers = [cohort.policy(*given) for _ in range(WORTH_TRACING + 1)]
    return answers[-1], answers[0]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_who_is_asked_often_says_the_same_bit_for_bit(name, kind, device):
    cohort = cohort_of(name, kind, device)
    raw = np.stack([random_dataset(kind, 9, seed).observation for seed in (5, 6)])
    with torch.inference_mode():  # as evaluations do
        assert same(*asked_often(cohort, raw))
    assert cohort._policies._programs
    train(cohort, 2)
    # Of the states as they are now: a cohort that was never asked before says so, too.
    new = cohort.policy(raw)
    assert same(new, train(cohort_of(name, kind, device), 2).policy(raw))
    alone = slice(1, 2)
    assert same(*asked_often(cohort, raw[alone], alone))
    torch.testing.assert_close(
        tuple(cohort.policy(raw[alone], alone)), tuple(x[alone] for x in new), rtol=1e-5, atol=1e-6
    )
