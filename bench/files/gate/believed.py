"""What follows from a verdict: the world that policies are evaluated in, or a refusal."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from pydantic import ValidationError

from bench.atomic import atomic_write
from bench.data.storage import Storage
from bench.files.flat import Card, UnusableFile, cache_folder
from bench.files.gate.claim import Claim
from bench.files.gate.gate import compare
from bench.files.gate.verdict import GATE_VERSION, Trust, Verdict
from bench.worlds.base import Environment
from bench.worlds.simulators.rescaled import rescaled

# Whose versions decide what a world answers.
SIMULATORS = ("gymnasium", "mujoco")


def judged(claim: Claim, key: str, card: Card, storage: Callable[[], Storage]) -> Verdict:
    """Return what comes of comparing data with a world, as it was found once for the same two.

    `key` names the data's content, `storage` opens it.
    """
    if claim.gymnasium_spec is None and not claim.environment.can_evaluate:
        return Verdict.nothing(claim.environment.without_evaluation or "there is none")
    note = cache_folder() / "verdicts" / f"{_name(claim, key)}.json"
    try:
        return Verdict.model_validate_json(note.read_text("utf-8"))
    except (FileNotFoundError, ValidationError):
        verdict = compare(claim, storage(), card)
    if verdict.world is not None:
        with atomic_write(note) as file:
            file.write(verdict.model_dump_json().encode())
    return verdict


def believed(
    claim: Claim, verdict: Verdict, name: str, trust: Trust
) -> tuple[Environment, Verdict]:
    """Return the world that policies are evaluated in, with the verdict.

    Raises:
        UnusableFile: If world and data disagree, and that is not to be ignored.
    """
    if trust == "refuse":
        return replace(claim.data_alone, why="dataset.trust=refuse takes no world"), verdict
    if not verdict.disagreements:
        slope = verdict.reward_map
        if slope is None or trust == "ignore":
            return claim.environment, verdict
        return rescaled(claim.environment, slope.slope, slope.offset), verdict
    if verdict.fits and trust == "ignore":
        return claim.environment, verdict
    sentence = f"{claim.name} is not the world of {name}: {verdict.sentence}"
    if claim.stands_in:
        return replace(claim.data_alone, why=sentence), verdict
    way_out = "dataset.trust=refuse trains on the data without a world"
    if verdict.fits:
        way_out += ", dataset.trust=ignore evaluates in this one all the same"
    raise UnusableFile(f"{sentence} ({way_out})")


def _name(claim: Claim, key: str) -> str:
    """Return a name for all that a verdict depends on."""
    spec = claim.gymnasium_spec
    parts = {
        "gate": GATE_VERSION,
        "data": key,
        "world": None if spec is None else spec.to_json(),
        "own": [type(claim.environment).__name__, claim.environment.spec.horizon],
        "instance": repr(claim.instance),
        "claim": [claim.stands_in, claim.elsewhere, claim.altered_rewards],
        "shape": repr(claim.data_alone.spec),
        "versions": {package: _version(package) for package in SIMULATORS},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
