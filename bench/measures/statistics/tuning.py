"""What tuning is worth: the regret of the setting that a bandit picks after so many evaluations.

The protocol of Jackson et al. 2025, "A Clean Slate for Offline Reinforcement Learning"
(arXiv 2504.11453): whoever tunes a learner for a task tries its settings in the world, one
evaluation after the other, as a UCB1 bandit does, and deploys what looked best. A learner is then
as good as the number of evaluations that its user can pay for.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NUM_BANDITS = 1000


class TuningCurve(NamedTuple):
    """Regret by number of online evaluations, each ``[evaluations]``.

    Attributes:
        regret: Mean over tasks and bandits of the true regret of what is picked.
        low: The 2.5 % quantile over bandits of the mean over tasks.
        high: The 97.5 % quantile.
    """

    regret: np.ndarray
    low: np.ndarray
    high: np.ndarray


def tuning_curve(
    tasks: Sequence[np.ndarray],
    rng: np.random.Generator,
    num_evaluations: int | None = None,
    num_bandits: int = NUM_BANDITS,
    exploration: float = 1.0,
) -> TuningCurve:
    """Return what bandits deploy after each number of evaluations, tuning for each task anew.

    Args:
        tasks: Regrets ``[settings, outcomes]``: an evaluation of a setting draws one of its
            outcomes, and its true regret is their mean.
        rng: Where order of settings and outcomes come from.
        num_evaluations: How many each bandit makes; as many as there are settings if None.
        num_bandits: How many are simulated per task.
        exploration: Width of UCB1's bonus in units of the regret.

    Raises:
        ValueError: If there is no task, or tasks differ in their settings.
    """
    if len({len(outcomes) for outcomes in tasks}) != 1:
        raise ValueError("A tuning curve needs tasks that all have the same settings.")
    total = num_evaluations or len(tasks[0])
    found = np.mean([_deployed(t, rng, total, num_bandits, exploration) for t in tasks], axis=0)
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return TuningCurve(found.mean(axis=0), low, high)


def _deployed(
    outcomes: np.ndarray, rng: np.random.Generator, total: int, num_bandits: int, width: float
) -> np.ndarray:
    """Return the true regret of what looks best after each evaluation ``[bandits, total]``."""
    num_settings = len(outcomes)
    truth = outcomes.mean(axis=1)
    order = rng.permuted(np.tile(np.arange(num_settings), (num_bandits, 1)), axis=1)
    sums, pulls = np.zeros((2, num_bandits, num_settings))
    bandit = np.arange(num_bandits)
    deployed = np.empty((num_bandits, total))
    for step in range(total):
        if step < num_settings:
            arm = order[:, step]
        else:
            arm = np.argmin(sums / pulls - width * np.sqrt(2 * np.log(step) / pulls), axis=1)
        sums[bandit, arm] += outcomes[arm, rng.integers(outcomes.shape[1], size=num_bandits)]
        pulls[bandit, arm] += 1
        means = np.where(pulls > 0, sums / np.maximum(pulls, 1), np.inf)
        deployed[:, step] = truth[np.argmin(means, axis=1)]
    return deployed
