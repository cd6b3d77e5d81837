"""The four regrets of a policy, and the anchor values that they are measured against."""

from dataclasses import dataclass

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures.cells import best_covered_value
from bench.measures.evaluation import PolicyEvaluation
from bench.measures.exact import best_covered_policy, best_supported_value
from bench.worlds.exact import TIE_TOLERANCE


@dataclass(frozen=True)
class Anchors:
    """Values to compare with, in the environment's units of value.

    Attributes:
        optimum: Of the optimal policy, or of the reference that counts as such; None if unknown.
        uniform: Of the uniformly random policy; None if unknown.
        behavior: Of the policy that collected the data.
        best_covered: Optimum where a pair without data is worth `v_min`: of tables, and of worlds
            that are cut into cells; None elsewhere.
        best_supported: Optimum of policies that take seen actions wherever a state has any and are
            uniform elsewhere, of tables; None elsewhere.
    """

    optimum: float | None
    uniform: float | None
    behavior: float
    best_covered: float | None
    best_supported: float | None = None


def anchors(task: Task, dataset: OfflineDataset) -> Anchors:
    """Return the anchor values for a degraded view of the task's data."""
    environment, covered, supported = task.environment, None, None
    if environment.mdp is not None:
        covered = best_covered_policy(environment, dataset)[1]
        supported = best_supported_value(environment, dataset)
    elif environment.cells is not None:
        covered = best_covered_value(task, dataset)
    return Anchors(
        optimum=environment.optimum,
        uniform=environment.uniform,
        behavior=task.behavior_value,
        best_covered=covered,
        best_supported=supported,
    )


def apart(one: float, other: float) -> bool:
    """Return whether two values differ by more than the rounding of either."""
    return abs(one - other) > TIE_TOLERANCE * max(abs(one), abs(other))


FINAL = (
    "return_mean", "value", "sampled_value", "normalized_score", "regret", "normalized_regret",
    "regret_to_covered", "regret_to_support", "improvement",
)  # fmt: skip
"""A record's final numbers."""


def scores(evaluation: PolicyEvaluation | None, against: Anchors) -> dict[str, float | None]:
    """Return a record's final numbers, all None without an evaluation; no regret is ever clipped.

    ``regret`` is optimum minus achieved, ``normalized_regret`` divides it by optimum minus uniform
    (0 the optimum, 1 the uniform policy), ``regret_to_covered`` is best covered minus achieved,
    ``regret_to_support`` best supported minus achieved, ``improvement`` is achieved minus behavior.
    What else the world measures of a policy stands beside them under its own names.
    """
    if evaluation is None:
        return dict.fromkeys(FINAL)
    achieved = evaluation.value
    optimum, uniform = against.optimum, against.uniform
    covered, supported = against.best_covered, against.best_supported
    regret = None if optimum is None else optimum - achieved
    score = normalized = None
    # In units of an optimum that is no better than the uniform policy nothing can be said.
    if optimum is not None and uniform is not None and apart(optimum, uniform):
        score = 100 * (achieved - uniform) / (optimum - uniform)
        normalized = (optimum - achieved) / (optimum - uniform)
    return {
        "return_mean": sum(evaluation.returns) / len(evaluation.returns),
        "value": achieved,
        "sampled_value": evaluation.sampled_value,
        "normalized_score": score,
        "regret": regret,
        "normalized_regret": normalized,
        "regret_to_covered": None if covered is None else covered - achieved,
        "regret_to_support": None if supported is None else supported - achieved,
        "improvement": achieved - against.behavior,
        **evaluation.measured,
    }
