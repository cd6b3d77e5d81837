"""Names of curves and columns: a base name plus the settings that set its runs apart.

Two runs may share a curve only if nothing but their seed differs. A setting that varies within one
environment therefore becomes part of the name; one that differs between environments only (a
discount, say) does not, since no panel holds both values.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any

from bench.store.conditions import condition, flatten
from bench.store.record import RunRecord

Settings = Mapping[str, str]
CLASS = ".target"


def learner_labels(records: Iterable[RunRecord]) -> dict[str, str]:
    """Return per run id the learner's label, as in ``fqi (initial_value=v_max)``."""
    return _labels({r.run_id: (r.environment, r.algorithm, learner_settings(r)) for r in records})


def degradation_labels(records: Iterable[RunRecord]) -> dict[str, str]:
    """Return per run id the degradation's label, ``none`` at severity 0."""
    named = {}
    for record in records:
        name = condition(record).degradation
        planned = record.config.get("coverage", {})
        settings = {} if name == "none" else _degradation_settings(planned)
        named[record.run_id] = (record.environment, _title(name, planned), settings)
    return _labels(named)


def _title(name: str, planned: Mapping[str, Any]) -> str:
    """Return a degradation's name with the names of those in it: ``size_matched: region``."""
    of, steps = planned.get("of"), planned.get("steps")
    inner = [of] if isinstance(of, dict) else steps if isinstance(steps, list) else []
    if name == "none" or not inner:
        return name
    return f"{name}: {' + '.join(_title(str(part.get('name')), part) for part in inner)}"


def learner_settings(record: RunRecord) -> Settings:
    """Return what may set two learners of one name apart.

    That is all but seeds, the data's loss and how much is measured of it.
    """
    about_data = ("coverage", "coverage_estimates", "value_estimates")
    flat = flatten({k: v for k, v in record.config.items() if k not in about_data})
    named = {key.removeprefix("algorithm."): value for key, value in flat.items()}
    return {
        key: value for key, value in named.items() if key not in ("name", "seed", "dataset.seed")
    }


def varying(group: Collection[Settings]) -> set[str]:
    """Return the names of what is not the same in all of the group, or lacks in some of it."""
    pairs = set().union(*(settings.items() for settings in group))
    values = Counter(name for name, _ in pairs)
    having = Counter(chain.from_iterable(group))
    return {name for name in having if values[name] > 1 or having[name] < len(group)}


def telling(group: Collection[Settings]) -> set[str]:
    """Return the names of what tells the group's settings apart.

    That is what varies, but of parts of different classes their class and what varies among those
    of one class alone.
    """
    told = varying(group)
    for target in sorted(name for name in told if name.endswith(CLASS)):
        if target not in told:  # A part of one that came before.
            continue
        part = target.removesuffix("target")
        alike: dict[str | None, list[Settings]] = defaultdict(list)
        for settings in group:
            inner = {name: value for name, value in settings.items() if name.startswith(part)}
            alike[settings.get(target)].append(inner)
        told = {name for name in told if name == target or not name.startswith(part)}
        told |= set().union(*map(telling, alike.values()))
    return told


def _degradation_settings(planned: Mapping[str, Any]) -> Settings:
    flat = flatten(planned)
    return {
        key: value
        for key, value in flat.items()
        if key not in ("name", "severity", "seed") and not key.endswith(".name")
    }


def _labels(named: Mapping[str, tuple[str, str, Settings]]) -> dict[str, str]:
    """Return a label per run id from its (environment, base name, settings)."""
    groups: dict[tuple[str, str], list[Settings]] = defaultdict(list)
    for environment, name, settings in named.values():
        groups[environment, name].append(settings)
    # What varies in one environment is spelled out in all, so that a label means one thing.
    told: dict[str, set[str]] = defaultdict(set)
    for (_, name), group in groups.items():
        told[name] |= telling(group)
    labels, classes = {}, _class_names(settings for _, _, settings in named.values())
    for run_id, (_, name, settings) in named.items():
        shown = [
            f"{key.removesuffix(CLASS)}={classes.get(settings[key], settings[key])}"
            for key in sorted(told[name])
            if key in settings
        ]
        labels[run_id] = f"{name} ({', '.join(shown)})" if shown else name
    return labels


def _class_names(group: Iterable[Settings]) -> dict[str, str]:
    """Return what a label calls a part's class: its last name, all of it where two share that."""
    full = {value for settings in group for key, value in settings.items() if key.endswith(CLASS)}
    shared = Counter(target.rpartition(".")[2] for target in full)
    short = {target: target.rpartition(".")[2] for target in full}
    return {target: name if shared[name] == 1 else target for target, name in short.items()}
