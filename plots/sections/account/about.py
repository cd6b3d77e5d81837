"""What was asked and what was run: grid, seeds, code, versions, time."""

from collections import defaultdict
from collections.abc import Iterable

from bench.store.record import RunRecord
from plots.data import names as printed
from plots.data.frame import Frame
from plots.look.captions import statuses
from plots.look.markup import escape_markdown, markdown_table
from plots.sections import Section

PLACE = 0


def section(frame: Frame) -> Section:
    """Return the section, which every experiment has."""
    severities = sorted({c.severity for c in frame.situations})
    seeds = sorted({r.seed for r in frame.records})
    updates = sorted({r.config["num_updates"] for r in frame.records if "num_updates" in r.config})
    rows = [
        ("environments", "; ".join(map(printed.environment, frame.environments))),
        ("degradations", "; ".join(map(printed.degradation, frame.degradations))),
        ("severities", ", ".join(f"{s:g}" for s in severities)),
        ("learners", "; ".join(printed.learner(x.label) for x in frame.learners)),
        ("seeds", f"{len(seeds)}, from {seeds[0]} to {seeds[-1]}"),
        ("updates", ", ".join(f"{n:,}" for n in updates)),
        ("runs", statuses(frame)),
        ("processor", _time(frame.records)),
        ("versions", _versions(frame.records)),
        ("code", _code(frame)),
    ]
    shown = [(name, escape_markdown(words)) for name, words in rows if words]
    return Section("What was run", text=markdown_table(("", "what"), shown, 2))


def _time(records: Iterable[RunRecord]) -> str:
    """Return how long the cohorts took: each is counted once, by the share of its runs."""
    seconds = sum(
        (r.timing.get("wall_seconds") or 0.0) / (r.timing.get("cohort_size") or 1) for r in records
    )
    return f"{seconds / 3600:.1f} hours of cohorts" if seconds else ""


def _versions(records: Iterable[RunRecord]) -> str:
    found = defaultdict(set)
    for record in records:
        for package, version in record.versions.items():
            found[package].add(version)
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in sorted(found))


def _code(frame: Frame) -> str:
    found = defaultdict(set)
    for record in frame.records:
        found[record.algorithm].add(record.code or "not known")
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in sorted(found))
