"""The gate: data and the world that is named for it, compared in one place, once."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from bench.data.storage import Storage
from bench.files.flat import Card
from bench.files.gate import rewards, shapes, starts, steps
from bench.files.gate.claim import Claim
from bench.files.gate.verdict import Verdict
from bench.files.gate.wrappers import stateful
from bench.worlds.exact import TabularMDP
from bench.worlds.mdps import toy_text_mdp
from bench.worlds.simulators.live import flat_observation, without_limit
from bench.worlds.simulators.recorded import RecordedEnvironment
from bench.worlds.simulators.settable import Settable

STARTS, STEPS, REWARDS, LENGTH, BOUNDS = (
    "initial observations", "steps", "rewards", "longest episode", "bounds",
)  # fmt: skip
ELSEWHERE = "the file names another world for evaluation"


def compare(claim: Claim, storage: Storage, card: Card) -> Verdict:
    """Return what comes of comparing a file's transitions with the world that is named for them."""
    if wrapped := stateful(claim.gymnasium_spec):
        return Verdict(world=claim.name, disagreements=[wrapped])
    environment = claim.environment
    if not environment.can_evaluate:
        return Verdict.nothing(environment.without_evaluation or "there is none")
    verdict = Verdict(world=claim.name)
    with _made(claim) as world:
        spec = environment.spec
        if world is not None:
            spec = shapes.spec_of_spaces(spec, world.observation_space, world.action_space)
        if misfit := shapes.misfit(claim.data_alone.spec, spec):
            return Verdict(world=claim.name, disagreements=[misfit], fits=False)
        verdict.compared["shapes"] = len(storage)
        _compare_length(claim, verdict, card.longest_episode, len(storage))
        table = _table(claim, world)
        if card.crossing:
            verdict.not_compared[STARTS] = "where episodes end is guessed as d4rl does"
        else:
            _compare_starts(claim, verdict, storage, world, table)
        _compare_steps(claim, verdict, storage, world, table, card.terminal_successors)
        if world is not None and table is None:
            _compare_bounds(verdict, storage, world, claim.stands_in)
    return verdict


@contextmanager
def _made(claim: Claim) -> Iterator[Any]:
    """Yield the world as gymnasium makes it, None where it is only this project's."""
    if claim.gymnasium_spec is None:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world = gymnasium.make(without_limit(claim.gymnasium_spec))
        try:
            yield world
        finally:
            world.close()


def _table(claim: Claim, world: Any) -> TabularMDP | None:
    if claim.environment.mdp is not None:
        return claim.environment.mdp
    if isinstance(getattr(getattr(world, "unwrapped", None), "P", None), dict):
        try:
            return toy_text_mdp(world.unwrapped)
        except Exception:
            # A table of some other form.
            return None
    return None


def _compare_length(claim: Claim, verdict: Verdict, longest: int, rows: int) -> None:
    limit = claim.environment.spec.horizon
    if claim.elsewhere:
        verdict.not_compared[LENGTH] = ELSEWHERE
        return
    verdict.compared[LENGTH] = rows
    if longest > limit:
        verdict.disagreements.append(
            f"the longest recorded episode has {longest:,} steps, but the world stops after "
            f"{limit:,}"
        )


def _compare_bounds(verdict: Verdict, storage: Storage, world: Any, stands_in: bool) -> None:
    """Compare the range of vectors.

    Actions may lie beyond the world's if it is known to take them as they are recorded, or if it is
    known to be another one: they count as the nearest within.
    """
    verdict.compared[BOUNDS] = len(storage)
    taken = stands_in or (STEPS in verdict.compared and not verdict.disagreements)
    spaces = {"observation": world.observation_space, "action": world.action_space}
    for name, space in spaces.items():
        if getattr(storage, name).ndim == 2 and not (taken and name == "action"):
            found = shapes.outside(storage, name, space)
            verdict.disagreements += [found] if found else []


def _compare_starts(
    claim: Claim, verdict: Verdict, storage: Storage, world: Any, table: TabularMDP | None
) -> None:
    first = np.flatnonzero(storage.step == 0)
    if claim.elsewhere or len(first) == 0:
        why = ELSEWHERE if claim.elsewhere else "no episode's first step is recorded"
        verdict.not_compared[STARTS] = why
        return
    rng = np.random.default_rng(0)
    first = np.sort(rng.choice(first, min(starts.ROWS, len(first)), replace=False))
    recorded = storage.observation[first]
    if table is not None:
        strange = table.initial[recorded] == 0
    elif recorded.ndim == 1:
        verdict.not_compared[STARTS] = "the world tells no distribution of its first states"
        return
    else:
        rows = np.sort(rng.choice(len(storage), min(starts.ROWS, len(storage)), replace=False))
        spread = storage.observation[rows].std(0, dtype=np.float64)
        strange = starts.strangers(recorded, spread, _reset(claim, world))
    verdict.compared[STARTS] = len(first)
    found = starts.complaint(strange)
    verdict.disagreements += [found] if found else []


def _reset(claim: Claim, world: Any) -> starts.Reset:
    """Return how an episode of the world begins, by a seed."""
    environment = claim.environment
    if world is not None:
        return lambda seed: flat_observation(world.observation_space, world.reset(seed=seed)[0])
    rng = np.random.default_rng(0)
    first = type(environment).simulator([environment], [rng], starts.RESETS).reset()[0]
    return lambda seed: first[seed]


def _compare_steps(
    claim: Claim,
    verdict: Verdict,
    storage: Storage,
    world: Any,
    table: TabularMDP | None,
    terminal_successors: bool,
) -> None:
    """Compare where recorded steps lead, how they end and what they earn."""
    try:
        if table is not None:
            compared = steps.by_table(storage, table)
        else:
            compared = _by_simulator(claim, storage, world, terminal_successors)
    except Exception as error:
        # Whatever a world of others does when it is set to a state.
        verdict.not_compared[STEPS] = " ".join(str(error).split())[:200] or type(error).__name__
        return
    verdict.compared[STEPS] = compared.rows
    verdict.disagreements += compared.disagreements
    if claim.altered_rewards:
        verdict.not_compared[REWARDS] = "the file says that they were altered"
    elif not compared.disagreements and len(compared.world):
        _compare_rewards(claim, verdict, compared, table)


def _by_simulator(
    claim: Claim, storage: Storage, world: Any, terminal_successors: bool
) -> steps.Compared:
    if world is None or storage.observation.ndim == 1:
        raise ValueError("the world cannot be set to a state")
    with np.errstate(all="ignore"):
        settable = Settable(world)
        computed = steps.COMPUTED if settable.is_exact else steps.PHYSICS
        strictness = steps.STAND_IN if claim.stands_in else computed
        return steps.by_simulator(storage, settable, strictness, terminal_successors)


def _compare_rewards(
    claim: Claim, verdict: Verdict, compared: steps.Compared, table: TabularMDP | None
) -> None:
    spec = claim.environment.spec
    if table is not None:
        constant = bool(np.ptp(table.reward[table.probability > 0]) == 0)
    else:
        # The spec of a world that only gymnasium has is of the data.
        own = not isinstance(claim.environment, RecordedEnvironment)
        constant = own and spec.reward_min == spec.reward_max
    slack, share = compared.strictness
    fit = rewards.fit(compared.recorded, compared.world, slack, share, constant)
    verdict.compared[REWARDS] = len(compared.world)
    verdict.reward_map = fit.map
    if fit.why is not None:
        verdict.disagreements.append(
            f"the rewards of {fit.strangers:,} of {len(compared.world):,} recorded steps are not "
            f"the world's, and {fit.why}"
        )
