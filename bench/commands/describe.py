"""`python -m bench describe dataset=...`: a dataset's card, before anyone trains on it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.table import Table

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures import coverage, regret
from bench.measures.coverage import CoverageReport
from bench.measures.value_estimates import estimation
from bench.settings.groups import choices
from bench.settings.run import RunConfig
from bench.settings.single import SingleRun, single_run

USAGE = """\
python -m bench describe KEY=VALUE ...
  Prints a dataset's card: counts, returns, actions, observations, values to compare with, and what
  it covers. Takes the words of `run` that concern data: those of the groups below, and `seed`."""
QUANTILES = {"lowest": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "highest": 1.0}
BINS = 12
BAR_WIDTH = 40
ESTIMATES_SHOWN = (
    "effective_trajectories", "support_share", "agreement", "agreement_where_acting"
)  # fmt: skip
# A longer list of states, actions or dimensions is cut.
LONGEST_LIST = 20


def main(words: list[str]) -> int:
    """Print the card and return the exit status."""
    if "--help" in words or "-h" in words:
        print(f"{USAGE}\n{choices('dataset', 'behavior', 'coverage')}")
        return 0
    print_card(single_run(words, "describe"))
    return 0


def print_card(run: SingleRun) -> None:
    """Print what the dataset holds once the degradation has taken its part."""
    config, (task, dataset) = run.config, run.load()
    console = Console()
    if not console.is_terminal:
        console.width = 100
    name, seed = config.dataset.environment_name, config.dataset.seed
    console.rule(f"{name}, seed {seed}", align="left")
    for part in _card(config, task, dataset):
        console.print(part, highlight=False)
        console.print()


def _card(config: RunConfig, task: Task, dataset: OfflineDataset) -> Iterator[RenderableType]:
    yield _table("data", _data(config, task, dataset))
    if len(dataset) == 0:
        yield "Nothing is left to describe: a run on this data would be recorded as `empty`."
        return
    yield _table("values", _values(task, dataset))
    yield _distributions(dataset)
    yield Group("episode returns", _histogram(dataset.episode_returns))
    yield _actions(dataset)
    yield _observations(dataset)
    yield from _coverage(coverage.measure(task, dataset, "everywhere"))
    if not task.environment.can_evaluate:
        yield _value_estimates(task, dataset)


def _data(config: RunConfig, task: Task, dataset: OfflineDataset) -> dict[str, str]:
    spec, degradation = dataset.spec, config.coverage
    states = "discrete states" if spec.observation_kind == "discrete" else "dimensions"
    actions = (
        f"{spec.num_actions} discrete actions"
        if spec.action_bounds is None
        else f"continuous actions of {len(spec.action_bounds[0])} dimensions"
    )
    taken = "none" if degradation.severity == 0 else f"{degradation.name} {degradation.severity:g}"
    return {
        "degradation": taken,
        **_source(dataset.provenance),
        "world": f"{spec.observation_size} {states}, {actions}, at most {spec.horizon} steps",
        "transitions": _of(len(dataset), len(task.data)),
        "episodes": _of(dataset.num_episodes, task.data.num_episodes),
        "segments": str(int(dataset.successor_missing.sum())),
        "terminations": str(int(dataset.terminated.sum())),
        "truncations": f"{int(dataset.truncated.sum())} (a time limit, a cut or a hole)",
        "initial states": str(int(dataset.initial.sum())),
        **_endless(task.data),
        **_whole(task.data),
        "fingerprint": dataset.fingerprint,
    }


def _source(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what files say of themselves, and whose reference returns there are."""
    shown = {}
    if "sha256" in provenance:
        shown["file"] = f"{provenance['source']}, SHA-256 {provenance['sha256'][:16]}"
    if "reference" in provenance:
        shown["reference returns"] = provenance["reference"]["source"]
    if crossing := provenance.get("crossing"):
        shown["across episodes"] = f"{crossing} transitions, as d4rl forms them"
    if "world_check" in provenance:
        shown |= _world_check(provenance["world_check"])
    return shown


def _endless(data: OfflineDataset) -> dict[str, str]:
    """Return what it does that no end of an episode is marked; of most data there is nothing.

    Some files of D4RL have a column of time limits that is never set.
    """
    if data.terminated.any() or data.num_episodes > 1:
        return {}
    return {
        "no episode ends": f"neither a termination nor a time limit is marked: all {len(data):,} "
        "transitions are one episode, so that `thin` and `best_returns` take nothing, there is "
        "one return, of all of them, and one initial state"
    }


def _whole(data: OfflineDataset) -> dict[str, str]:
    """Return which columns might be meant as numbers of actions or states, and are real ones."""
    columns = {"actions": data.action, "states": data.observation}
    said = "one real number each, all of them whole: stored as integers they would be numbered"
    return {
        f"whole {what}": f"{said} {what}"
        for what, x in columns.items()
        if x.shape[1:] == (1,) and ((x >= 0) & (x == np.floor(x))).all()
    }


def _world_check(check: Mapping[str, Any]) -> dict[str, str]:
    """Return what came of comparing a file with its world."""
    rows = ", ".join(f"{what} ({count:,} rows)" for what, count in check["compared"].items())
    missing = "; ".join(f"{what}: {why}" for what, why in check["not_compared"].items())
    found = {
        "world check": check["result"] + (f" with {check['world']}" if check["world"] else ""),
        "compared": rows,
        "not compared": missing,
        "disagreements": "; ".join(check["disagreements"]),
        "note": check["said"] or "",
    }
    return {name: text for name, text in found.items() if text}


def _of(count: int, full: int) -> str:
    return f"{count:,}" if count == full else f"{count:,} of {full:,} ({count / full:.1%})"


def _values(task: Task, dataset: OfflineDataset) -> dict[str, str]:
    anchors = regret.anchors(task, dataset)
    unit = "discounted" if task.environment.discounted else "mean return"
    unit += ", exact" if task.environment.mdp is not None else ""
    shown = {
        "optimum or reference": anchors.optimum,
        "best covered policy": anchors.best_covered,
        "best supported policy": anchors.best_supported,
        "behavior policy": anchors.behavior,
        "uniform or random policy": anchors.uniform,
    }
    known = {name: f"{value:.4g}" for name, value in shown.items() if value is not None}
    return {**known, "unit": unit}


def _distributions(dataset: OfflineDataset) -> Table:
    _, lengths = np.unique(dataset.episode, return_counts=True)
    table = Table(title="distributions", title_justify="left", box=None)
    for name in ("", "mean", *QUANTILES):
        table.add_column(name, justify="right")
    for name, values in {
        "episode return, as collected": dataset.episode_returns,
        "episode length, as left": lengths,
        "reward": dataset.reward,
    }.items():
        quantiles = np.quantile(values, list(QUANTILES.values()))
        table.add_row(name, *(f"{value:.4g}" for value in (values.mean(), *quantiles)))
    return table


def _histogram(values: np.ndarray) -> Table:
    """Return the counts of values as bars, of each value or, where they are many, of equal bins."""
    distinct, counts = np.unique(values, return_counts=True)
    names = [f"{value:.4g}" for value in distinct[:BINS]]
    if len(distinct) > BINS:
        counts, edges = np.histogram(values, bins=BINS)
        names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return _bars(dict(zip(names, counts.tolist(), strict=True)))


def _bars(counts: Mapping[str, float]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column()
    most = max(counts.values())
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", Bar(most, 0, count, width=BAR_WIDTH))
    return table


def _actions(dataset: OfflineDataset) -> RenderableType:
    spec = dataset.spec
    if spec.action_bounds is not None:
        names = tuple(f"action {i}" for i in range(len(spec.action_bounds[0])))
        low, high = (np.array(bound, dtype=np.float32) for bound in spec.action_bounds)
        parts = dataset.chunks("action")
        reached = sum(int(((part <= low) | (part >= high)).any(1).sum()) for part in parts)
        counted = {"at a bound or beyond": _of(reached, len(dataset)) if reached else "0"}
        return Group(_ranges("actions", names, dataset.chunks("action")), _table("", counted))
    counts = np.bincount(dataset.action, minlength=spec.num_actions)
    shown = {f"action {action}": int(count) for action, count in enumerate(counts[:LONGEST_LIST])}
    return Group("actions", _bars(shown))


def _observations(dataset: OfflineDataset) -> RenderableType:
    spec = dataset.spec
    if spec.observation_kind == "vector":
        names = spec.observation_names or tuple(map(str, range(spec.observation_size)))
        return _ranges("observations", names, dataset.chunks("observation"))
    states = len(np.unique(dataset.observation))
    pairs = len(np.unique(np.stack([dataset.observation, dataset.action]), axis=1).T)
    counted = {
        "states seen": _of(states, spec.observation_size),
        "pairs of state and action seen": _of(pairs, spec.observation_size * spec.num_actions),
    }
    return _table("observations", counted)


def _ranges(title: str, names: tuple[str, ...], parts: Iterator[np.ndarray]) -> Table:
    # Of vectors that may be long and many, no more is copied than is shown.
    column = np.concatenate([part[:, :LONGEST_LIST].copy() for part in parts])
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("", "lowest", "mean", "std", "highest"):
        table.add_column(heading, justify="right")
    for name, values in zip(names[:LONGEST_LIST], column.T, strict=True):
        numbers = (values.min(), values.mean(dtype=np.float64), values.std(), values.max())
        table.add_row(name, *(f"{number:.4g}" for number in numbers))
    return table


def _coverage(report: CoverageReport) -> Iterator[Table]:
    others = ("comparator", "by_policy", "reasons")
    measures = [f.name for f in fields(report) if f.name not in others]
    shown: dict[str, str] = {"comparator": report.comparator}
    for name in measures:
        value: Any = getattr(report, name)
        unknown = f"not computed: {report.reasons.get(name, 'no reason given')}"
        shown[name] = unknown if value is None else f"{value:.4g}"
    yield _table("coverage of the comparator (1 is perfect, 0 none)", shown)
    if report.by_policy:
        table = Table(title="coverage of", title_justify="left", box=None)
        columns = list(next(iter(report.by_policy.values())))
        for name in ("", *columns):
            table.add_column(name, justify="right")
        for policy, values in report.by_policy.items():
            table.add_row(policy, *(f"{values[name]:.4g}" for name in columns))
        yield table


def _value_estimates(task: Task, dataset: OfflineDataset) -> Table:
    """Return what the data alone says of the two policies that it shows itself."""
    title = "estimated values, no returns: nothing can be acted in"
    if (why := estimation.unsuited(task, dataset)) is not None:
        return _table(title, {"not computed": why})
    found = estimation.of_the_data(task, dataset)
    policies = {name: part for name, part in found.items() if isinstance(part, dict)}
    said = "; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in found.items() if k not in policies)
    table = Table(title=title, title_justify="left", box=None, caption=said, caption_justify="left")
    for heading in ("", *(f"{name} actions" for name in policies)):
        table.add_column(heading, justify="right")
    for row in ("fitted", "bounds", "importance_sampling", "doubly_robust", *ESTIMATES_SHOWN):
        cells = (_estimate(part, row) for part in policies.values())
        table.add_row(row.replace("_", " "), *cells)
    return table


def _estimate(found: Mapping[str, Any], name: str) -> str:
    """Return an estimate with its interval, or why it is withheld."""
    low, high = (found.get(f"{name.removesuffix('s')}_{end}") for end in ("low", "high"))
    interval = "" if low is None else f"{low:.4g} to {high:.4g}"
    if name == "bounds":
        return interval
    if found[name] is None:
        return f"withheld: {found.get('reasons', {}).get(name, 'no such rows')}"
    return f"{found[name]:.4g}" + (f" ({interval})" if interval else "")


def _table(title: str, rows: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    return table
