"""Learners of continuous actions come near the optimum of the linear-quadratic world."""

import pytest

from bench.cohorts.cohort import Cohort, Member
from bench.measures import regret
from bench.settings.run import run_config
from tests.support import commands
from tests.support.builders import ALGORITHMS, evaluate, kinds_of, train

# Cloning half an optimal and half a random policy cannot be as good as choosing between them.
WITHOUT_REWARDS = ("bc",)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "continuous" in kinds_of(n)])
def test_it_learns_to_bring_an_oscillator_to_rest(name):
    words = (f"algorithm={name}", "dataset=lqr", "behavior=mixed", "dataset.num_transitions=3000")
    configs = [run_config(job) for job in commands.settings(*words, "batch_size=128", "seed=0,1")]
    tasks = [config.dataset.load(None) for config in configs]
    members = [
        Member(config.algorithm, config.seed, task.data, task.data)
        for config, task in zip(configs, tasks, strict=True)
    ]
    cohort = train(Cohort(members, batch_size=128, mode="traced"), 600)
    found = evaluate(cohort, [task.environment for task in tasks], [0, 1], 2)
    for result, task in zip(found, tasks, strict=True):
        scores = regret.scores(result, regret.anchors(task, task.data))
        assert scores["normalized_regret"] < (0.15 if name in WITHOUT_REWARDS else 0.06)
        assert scores["improvement"] > 0
