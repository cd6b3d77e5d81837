"""From composed settings to those of one run: whatever depends on another setting is filled in.

What a record says of its settings is what stands here at the end.
"""

import copy
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from bench.data.collected import Collected
from bench.data.registered import Gymnasium
from bench.data.sources import Facts
from bench.errors import MissingData
from bench.settings.groups import file_of, known_names, mapping
from bench.settings.run import HALFWAY, LATER, TrainingConfig, data_source
from bench.settings.typed import Absent, ConfigError

# A mapping from kinds of worlds to settings, in a learner's file. A kind that names a target has a
# class of its own, whose settings all stand there; name and discount alone are the learner's.
KINDS = "kinds"
SHARED = ("name", "discount")


@cache
def settings_of_kinds() -> frozenset[str]:
    """Return the settings, as in ``algorithm.x``, of classes that learners have for some kinds."""
    files = [file_of("algorithm", name) for name in known_names("algorithm")]
    kinds = [kind for file in files for kind in file.get(KINDS, {}).values() if "target" in kind]
    return frozenset(f"algorithm.{key}" for kind in kinds for key in _of_class(kind))


def _of_class(kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a kind's class, without those of the training."""
    return {k: v for k, v in kind.items() if k not in TrainingConfig.model_fields}


def resolved(settings: Mapping[str, Any], said: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings of one run, as `resolved_but_seed` and then `seeded` fill them in.

    Raises:
        ConfigError: If a name is unknown, or data cannot be had.
    """
    return seeded(resolved_but_seed(settings, said))


def seeded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings whose ``dataset.seed`` follows the seed, unless it is set."""
    dataset, seed = settings["dataset"], settings.get("seed")
    if dataset.get("seed") is None and seed is not None:
        return {**settings, "dataset": {**dataset, "seed": seed}}
    return dict(settings)


def resolved_but_seed(settings: Mapping[str, Any], said: Collection[str]) -> dict[str, Any]:
    """Return settings with everything filled in that others decide, seeds apart.

    ``algorithm.discount`` follows the dataset; a behavior becomes part of the dataset; what was
    chosen for the learner in worlds of the dataset's kind stands where nobody has `said` otherwise
    (dotted names); a part of a learner that is named has its own settings, a degradation inside
    another one those of its file; an evaluation without an interval comes at the end.

    Raises:
        ConfigError: If a name is unknown, or data cannot be had.
    """
    settings = {**settings, **{g: dict(mapping(settings, g)) for g in ("algorithm", "dataset")}}
    chosen, behavior = settings.pop("chosen", None), settings.pop("behavior", None)
    _check_names(settings)
    dataset = settings["dataset"]
    halfway = dataset.pop(HALFWAY, None)
    differs = _differences(dataset)
    if behavior is not None:
        _let_collect(dataset, behavior, halfway)
    dataset["name"] += differs
    facts = _facts(dataset)
    _choose_by_kind(settings, facts, chosen, said)
    algorithm = settings["algorithm"]
    _choose_parts(algorithm, said)
    if algorithm.get("discount") is None and dataset.get("discount") is not None:
        algorithm["discount"] = dataset["discount"]
    if settings.get("eval_every") is None and "eval_every" in settings:
        settings["eval_every"] = settings["num_updates"]
    settings["coverage"] = _degradation(dict(mapping(settings, "coverage")), facts)
    usual = {key: TrainingConfig.model_fields[key].default for key in LATER}
    return {k: v for k, v in settings.items() if k not in usual or v != usual[k]}


def _check_names(settings: Mapping[str, Any]) -> None:
    for group in ("algorithm", "dataset", "coverage"):
        name = mapping(settings, group).get("name")
        if name not in known_names(group):
            allowed = ", ".join(known_names(group))
            raise ConfigError(f"{group}.name is {name!r}, but should be one of: {allowed}.")


def _differences(dataset: Mapping[str, Any]) -> str:
    """Return what a world has otherwise than its file as part of a name: no figure mixes two."""
    usual = file_of("dataset", dataset["name"]).get("environment", {})
    own = dataset.get("environment")
    parts = own.items() if isinstance(own, Mapping) else ()
    return "".join(
        f"_{key}_{value:g}" if isinstance(value, float) else f"_{key}_{value}"
        for key, value in parts
        if key in usual and value != usual[key] and isinstance(value, int | float | str)
    )


def _let_collect(dataset: dict[str, Any], behavior: Any, halfway: float | None) -> None:
    """Make a behavior that of the dataset, in its settings and in its name."""
    if "behavior" not in dataset:
        raise ConfigError(
            f"behavior={behavior['name']} is for data that is collected here, "
            f"which dataset={dataset['name']} is not."
        )
    dataset["name"] += f"_{behavior['name']}"
    if isinstance(dataset["behavior"], str):
        # Its behaviors have names, not parts.
        dataset["behavior"] = behavior["name"]
        return
    if behavior["components"] is None:
        raise ConfigError(
            f"behavior={behavior['name']} is for worlds whose behaviors are trained, "
            f"which dataset={dataset['name'].removesuffix('_' + behavior['name'])} is not."
        )
    dataset["behavior"] = behavior["components"]
    if any(part["epsilon"] == "halfway" for part in dataset["behavior"]):
        found = _halfway(dataset) if halfway is None else halfway
        dataset["behavior"] = [
            {**part, "epsilon": found if part["epsilon"] == "halfway" else part["epsilon"]}
            for part in dataset["behavior"]
        ]


def _halfway(dataset: Mapping[str, Any]) -> float:
    source = data_source({**dataset, "behavior": [{"epsilon": 1.0, "share": 1.0}]})
    assert isinstance(source, Collected | Gymnasium)
    return source.halfway(dataset["discount"])


def _facts(dataset: Mapping[str, Any]) -> Facts:
    try:
        source = data_source(dataset)
        source.check_here()
        return source.facts()
    except MissingData as missing:
        raise Absent(missing) from None
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _choose_by_kind(
    settings: dict[str, Any], facts: Facts, chosen: Any, said: Collection[str]
) -> None:
    """Set what was chosen for the learner in such worlds: in its file, or in one of conf/chosen."""
    algorithm = settings["algorithm"]
    kinds, name = algorithm.pop(KINDS, None) or {}, algorithm.get("name")
    own = kinds.get(facts.kind, {})
    if "target" in own:
        settings["algorithm"] = algorithm = _class_of_kind(algorithm, own, facts, said)
    other = (chosen or {}).get(name, {}).get(facts.kind, {})
    mine, others = f"algorithm.{KINDS}.{facts.kind} of {name}", f"chosen.{name}.{facts.kind}"
    found = [(mine, *item) for item in own.items()] + [(others, *item) for item in other.items()]
    for where, key, value in found:
        if key in algorithm:
            _fill(algorithm, "algorithm", key, value, said, where)
        elif key in TrainingConfig.model_fields:
            if key not in said:
                settings[key] = value
        else:
            allowed = ", ".join(sorted({*algorithm, *TrainingConfig.model_fields} - {"name"}))
            raise ConfigError(f"{where} holds {key!r}; allowed: {allowed}.")


def _fill(
    place: dict[str, Any], inside: str, key: str, value: Any, said: Collection[str], where: str
) -> None:
    """Set ``place[key]``, or what a mapping says of it, where nobody has `said` otherwise."""
    dotted = f"{inside}.{key}"
    if not isinstance(value, Mapping):
        if dotted not in said:
            place[key] = value
        return
    place[key] = known = dict(place[key]) if isinstance(place[key], Mapping) else {}
    for inner, given in value.items():
        if inner not in known:
            raise ConfigError(
                f"{where} holds {dotted.removeprefix('algorithm.')}.{inner}; "
                f"allowed: {', '.join(sorted(known)) or 'nothing below it'}."
            )
        _fill(known, dotted, inner, given, said, where)


def _class_of_kind(
    algorithm: Mapping[str, Any], own: Mapping[str, Any], facts: Facts, said: Collection[str]
) -> dict[str, Any]:
    """Return the settings of the class that a learner has for a kind of world, and no others.

    Raises:
        ConfigError: If someone has `said` a setting that this class has not.
    """
    shared = {key: algorithm[key] for key in SHARED if key in algorithm}
    whole = copy.deepcopy(shared | _of_class(own))
    for word in said:
        group, *path = word.split(".")
        if group != "algorithm" or not path or path[0] == KINDS:
            continue
        given: Any = algorithm
        place: Any = whole
        for key in path[:-1]:
            given, place = given[key], place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict) or path[-1] not in place:
            raise ConfigError(
                f"{word} is not a setting of algorithm={algorithm['name']} in {facts.kind} worlds; "
                f"allowed here: {', '.join(sorted(whole))}."
            )
        place[path[-1]] = given[path[-1]]
    return whole


def _choose_parts(algorithm: dict[str, Any], said: Collection[str]) -> None:
    """Replace the name of a part by its settings: ``follower: table`` is one of ``followers``."""
    for several in [key for key in algorithm if key.removesuffix("s") in algorithm.keys() - {key}]:
        key, parts = several.removesuffix("s"), algorithm.pop(several)
        chosen = algorithm[key]
        if not isinstance(parts, Mapping) or chosen not in parts:
            allowed = ", ".join(sorted(parts))
            raise ConfigError(f"algorithm.{key} is {chosen!r}, but should be one of: {allowed}.")
        for word in said:
            if word.startswith(f"algorithm.{several}.") and word.split(".")[2] != chosen:
                raise ConfigError(f"{word} is of no use here, since algorithm.{key} is {chosen}.")
        algorithm[key] = dict(parts[chosen])


def _degradation(coverage: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Return a degradation's settings with those of the degradations in it filled in."""
    if isinstance(coverage.get("steps"), list):
        coverage["steps"] = [_step(step, "coverage.steps", facts) for step in coverage["steps"]]
    if coverage.get("of") is not None:
        coverage["of"] = _step(coverage["of"], "coverage.of", facts)
    if "dimension" in coverage and coverage["dimension"] is None:
        coverage["dimension"] = facts.slab_dimension
    return coverage


def _step(step: Any, where: str, facts: Facts) -> dict[str, Any]:
    given = {"name": step} if isinstance(step, str) else step
    known = known_names("coverage")
    if not isinstance(given, Mapping) or given.get("name") not in known:
        raise ConfigError(
            f"{where} holds {step!r}, but should name a degradation, as in "
            f"{{name: thin, severity: 0.5}}; known are: {', '.join(known)}."
        )
    # A step's severity is a share of the whole's.
    settings = {**file_of("coverage", given["name"]), "severity": 1.0, **given}
    return _degradation(settings, facts)
