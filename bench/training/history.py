"""What a cohort's runs leave at each evaluation."""

from typing import Any

import numpy as np
import torch

from bench.cohorts.cohort import Cohort
from bench.measures.evaluation import PolicyEvaluation


class History:
    """Evaluations and metrics so far, per run."""

    def __init__(self, num_runs: int):
        """Begin with nothing."""
        self.evaluations: list[list[PolicyEvaluation]] = [[] for _ in range(num_runs)]
        self.metrics: list[dict[str, list[list[float]]]] = [{} for _ in range(num_runs)]
        self.lost_at: list[int | None] = [None] * num_runs
        self.value_estimates: list[dict[str, Any]] = [{} for _ in range(num_runs)]
        self.regret_splits: list[dict[str, Any]] = [{} for _ in range(num_runs)]

    def add(self, cohort: Cohort, evaluations: list[PolicyEvaluation] | None) -> None:
        """Add metrics and an evaluation, where there are any, of every run.

        A run that is no longer finite leaves nothing more.
        """
        told = cohort.metrics | cohort.diagnose()
        metrics = {name: values.cpu().numpy() for name, values in told.items()}
        finite = cohort.finite()
        for index in range(len(self.lost_at)):
            if not finite[index]:
                self.lost_at[index] = self.lost_at[index] or cohort.step
                continue
            if evaluations is not None:
                self.evaluations[index].append(evaluations[index])
            for name, values in metrics.items():
                if np.isfinite(values[index]):
                    points = self.metrics[index].setdefault(name, [])
                    points.append([cohort.step, float(values[index])])

    def snapshot(self, at_the_end: bool = False) -> dict[str, Any]:
        """Return everything as plain values and tensors.

        Of tables of probabilities the last evaluation's alone, and only at the end: no other is
        ever used, and training that goes on has that one still before it.
        """
        plain = [[{**e.told, "probabilities": None} for e in run] for run in self.evaluations]
        for run, rows in zip(self.evaluations, plain, strict=True):
            if at_the_end and run and run[-1].probabilities is not None:
                rows[-1]["probabilities"] = torch.as_tensor(run[-1].probabilities)
        return {
            "evaluations": plain,
            "metrics": self.metrics,
            "lost_at": self.lost_at,
            "value_estimates": self.value_estimates,
            "regret_splits": self.regret_splits,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        self.evaluations = [[_evaluation(e) for e in run] for run in saved["evaluations"]]
        self.metrics, self.lost_at = saved["metrics"], saved["lost_at"]
        self.value_estimates = saved["value_estimates"]
        # Not in snapshots that were taken before there were any.
        self.regret_splits = saved.get("regret_splits", self.regret_splits)


def _evaluation(saved: dict[str, Any]) -> PolicyEvaluation:
    table = saved["probabilities"]
    return PolicyEvaluation(**{**saved, "probabilities": None if table is None else table.numpy()})
