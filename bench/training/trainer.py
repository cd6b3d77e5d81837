"""The trainer: runs with their data in, one record per run out, with checkpoints on the way."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch

from bench.cohorts import memory
from bench.cohorts.at_once import updates_at_once
from bench.cohorts.cohort import Cohort, Member
from bench.engines import stopping
from bench.measures.evaluation import PolicyEvaluation, evaluate
from bench.measures.splits import regret_split
from bench.measures.value_estimates.estimation import value_estimates
from bench.programs import compilation, gpu
from bench.programs.compilation import Mode
from bench.settings.spec import RunSpec
from bench.store.record import RunRecord
from bench.training.checkpoints import Checkpoints
from bench.training.history import History
from bench.training.preparation import Prepared
from bench.training.recording import Recorder


class Trainer:
    """Trains cohorts in this process."""

    def __init__(
        self,
        recorder: Recorder,
        device: str,
        compile_setting: Any,
        updates_per_graph: int | Literal["auto"],
    ):
        """Take how cohorts are computed: `device` is ``cpu`` or ``cuda``."""
        self.recorder, self.device, self.compile_setting = recorder, device, compile_setting
        self.updates_per_graph = updates_per_graph

    def mode(self, run: RunSpec) -> Mode:
        """Return how a run's updates are made."""
        return compilation.chosen(self.compile_setting, run.config.num_updates, self.device)

    def at_once(self, run: RunSpec) -> int:
        """Return how many of a run's updates are one call."""
        every, mode = run.config.eval_every, self.mode(run)
        return updates_at_once(self.updates_per_graph, every, self.device, mode)

    def updates(self, run: RunSpec) -> str:
        """Return in words how a run's updates are made."""
        number = self.at_once(run)
        return self.mode(run) if number == 1 else f"{self.mode(run)}, {number} a call"

    def bytes_per_run(self, example: Prepared) -> int:
        """Return an estimate of what one run more like the example takes in training."""
        return memory.bytes_per_run(self._cohort([example]))

    def train(
        self, ready: list[Prepared], checkpoints: Checkpoints, on_update: Callable[[int], None]
    ) -> list[RunRecord]:
        """Return the record of every run, trained on from the newest checkpoint if there is one.

        `on_update` is told the updates made so far after each, or after those of a call.

        Raises:
            Stopped: If the process was asked to stop; what was done is in a checkpoint.
        """
        if stopping.asked():
            raise stopping.Stopped
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        clock, history = _Clock(self.device), History(len(ready))
        saved = checkpoints.newest()
        if saved is not None:
            history.restore(saved["history"])
            clock.earlier = saved["seconds"]
        state = None if saved is None else saved["cohort"]
        if saved is None or state is not None:
            self._make_updates(ready, state, history, clock, checkpoints, on_update)
        timing = clock.timing(ready[0].spec.config.num_updates, len(ready))
        return [self.recorder.finished(p, history, i, timing) for i, p in enumerate(ready)]

    def _make_updates(
        self,
        ready: list[Prepared],
        state: dict[str, Any] | None,
        history: History,
        clock: "_Clock",
        checkpoints: Checkpoints,
        on_update: Callable[[int], None],
    ) -> None:
        """Make what is left of the updates, evaluating and keeping checkpoints on the way."""
        config, cohort = ready[0].spec.config, self._cohort(ready)
        environments = [p.task.environment for p in ready]
        seeds = [p.spec.config.seed for p in ready]
        if state is not None:
            cohort.restore(state)

        def evaluated(step: int) -> list[PolicyEvaluation] | None:
            if not environments[0].can_evaluate:
                return None
            return evaluate(cohort.policy, step, environments, seeds, config.eval_episodes)

        clock.trains()
        for step in cohort.train(config.num_updates - cohort.step, config.eval_every):
            on_update(step)
            if step % config.eval_every == 0 or step == config.num_updates:
                clock.pauses()
                history.add(cohort, evaluated(step))
                if step == config.num_updates:
                    _estimate(ready, cohort, history)
                    _split(ready, cohort, history)
                clock.trains()
            stop = stopping.asked()
            if step < config.num_updates and (stop or checkpoints.due()):
                clock.pauses()
                snapshot = {"cohort": cohort.snapshot(), "history": history.snapshot()}
                checkpoints.write(step, {**snapshot, "seconds": clock.seconds()})
                if stop:
                    raise stopping.Stopped
                clock.trains()
        if len(ready) > 1:
            # Killed between two of their records, the runs that are left have been trained in this
            # composition all the same. Nothing but what records are made of is needed for that.
            last = {"history": history.snapshot(at_the_end=True), "seconds": clock.seconds()}
            checkpoints.write(config.num_updates, {"cohort": None, **last})

    def _cohort(self, ready: list[Prepared]) -> Cohort:
        config = ready[0].spec.config
        if self.device == "cuda":
            gpu.set_up(config.precision)
        return Cohort(
            [
                Member(p.spec.config.algorithm, p.spec.config.seed, p.dataset, p.task.data)
                for p in ready
            ],
            config.batch_size,
            config.dataset.normalization,
            self.device,
            self.mode(ready[0].spec),
            at_once=self.at_once(ready[0].spec),
        )


def _estimate(ready: list[Prepared], cohort: Cohort, history: History) -> None:
    """Add estimates of the values of all policies, where they are wanted."""
    for index, run in enumerate(ready):
        without = not run.task.environment.can_evaluate
        wanted = without or run.spec.config.value_estimates == "everywhere"
        if wanted and history.lost_at[index] is None:
            history.value_estimates[index] = value_estimates(
                run.task, run.dataset, cohort.policy, index
            )


def _split(ready: list[Prepared], cohort: Cohort, history: History) -> None:
    """Add where regrets come from, where the world is a table."""
    for index, run in enumerate(ready):
        evaluations = history.evaluations[index]
        policy = evaluations[-1].probabilities if evaluations else None
        if policy is not None and history.lost_at[index] is None:
            history.regret_splits[index] = regret_split(
                run.task,
                run.dataset,
                policy,
                partial(cohort.critic_values, index),
                cohort.algorithm.tabular_critic,
            )


@dataclass
class _Clock:
    """Seconds of training alone and of everything, those before a checkpoint included."""

    device: str
    earlier: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "wall": 0.0})
    begun: float = field(default_factory=time.perf_counter)
    training: float = 0.0
    since: float = 0.0

    def trains(self) -> None:
        self.since = time.perf_counter()

    def pauses(self) -> None:
        if self.device == "cuda":
            # Updates are queued; they have been made once the queue is empty.
            torch.cuda.synchronize()
        self.training += time.perf_counter() - self.since

    def seconds(self) -> dict[str, float]:
        return {
            "training": self.earlier["training"] + self.training,
            "wall": self.earlier["wall"] + time.perf_counter() - self.begun,
        }

    def timing(self, num_updates: int, cohort_size: int) -> dict[str, float | None]:
        """Return what a record says of time and memory; every pause must have ended."""
        seconds = self.seconds()
        on_gpu = torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else None
        return {
            "updates_per_second": num_updates / seconds["training"],
            "wall_seconds": seconds["wall"],
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "peak_gpu_memory_mb": on_gpu,
            "cohort_size": cohort_size,
        }
