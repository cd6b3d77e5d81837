"""Regrets as statistics want them: by learner, task and seed, an environment being a stratum.

A task is a condition that is not known to tell nothing apart; conditions of one environment and
seed share their data's draw, so that seeds are resampled with all of them. Environments whose
learners are the same form a field: who runs on tables alone is compared on tables.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import Condition, replicate

# In units of optimum minus uniform; the second differs from the first by the same for all learners
# on the same data, and is read where worst cases are.
REGRETS = ("normalized_regret", "regret_to_covered")


class Field(NamedTuple):
    """Learners over the tasks that all of them have.

    Attributes:
        measure: What the scores are, in units of optimum minus uniform.
        learners: Their labels.
        environments: The strata.
        conditions: Per environment its tasks.
        scores: Per environment ``[learners, tasks, seeds]``, NaN where a run is lacking.
    """

    measure: str
    learners: tuple[str, ...]
    environments: tuple[str, ...]
    conditions: tuple[tuple[Condition, ...], ...]
    scores: tuple[np.ndarray, ...]

    def of(self, learner: str) -> list[np.ndarray]:
        """Return one learner's scores ``[tasks, seeds]`` per environment."""
        place = self.learners.index(learner)
        return [scores[place] for scores in self.scores]

    @property
    def num_tasks(self) -> int:
        """How many tasks there are."""
        return sum(map(len, self.conditions))

    @property
    def title(self) -> str:
        """The environments' printed names."""
        return "; ".join(map(printed.environment, self.environments))


def fields(frame: Frame, measure: str) -> list[Field]:
    """Return the fields of at least two learners, that with the most tasks first."""
    scores = _scores(frame, measure)
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for environment in frame.environments:
        having = {label for place, label in scores if place.environment == environment}
        groups[tuple(x.label for x in frame.learners if x.label in having)].append(environment)
    found = [
        _field(frame, measure, learners, environments, scores)
        for learners, environments in groups.items()
        if len(learners) > 1
    ]
    return sorted((f for f in found if f.num_tasks), key=lambda f: -f.num_tasks)


def _field(
    frame: Frame,
    measure: str,
    learners: tuple[str, ...],
    environments: list[str],
    scores: dict[tuple[Condition, str], dict[Any, float]],
) -> Field:
    names, conditions, tables = [], [], []
    for environment in environments:
        shared = tuple(
            place
            for place in frame.conditions(environment)
            if frame.situations[place].tells_apart(measure) is not False
            and all((place, label) in scores for label in learners)
        )
        if not shared:
            continue
        own = [[scores[place, label] for place in shared] for label in learners]
        seeds = sorted({seed for row in own for cell in row for seed in cell}, key=str)
        names.append(environment)
        conditions.append(shared)
        table = [[[cell.get(seed, np.nan) for seed in seeds] for cell in row] for row in own]
        tables.append(np.array(table))
    return Field(measure, learners, tuple(names), tuple(conditions), tuple(tables))


def _scores(frame: Frame, measure: str) -> dict[tuple[Condition, str], dict[Any, float]]:
    """Return per cell the scores by seed; of records that repeat a seed the last counts."""
    found: dict[tuple[Condition, str], dict[Any, float]] = defaultdict(dict)
    for record in frame.completed():
        score = record.final.get(measure)
        optimum, uniform = record.values.get("optimum"), record.values.get("uniform")
        if score is None:
            continue
        if measure != "normalized_regret":
            if optimum is None or uniform is None or optimum <= uniform:
                continue
            score = score / (optimum - uniform)
        place = frame.places[record.run_id], frame.labels[record.run_id]
        found[place][replicate(record)] = float(score)
    return found
