"""The paragraph under a table: all that must be known to compare it with another one."""

from collections.abc import Iterable
from itertools import groupby

from bench.store.record import RunRecord
from plots.papertables.reported import Rule
from plots.papertables.table import PaperTable

RULE_WORDS: dict[Rule, str] = {
    "last": "A run's score is that of its last evaluation",
    "best": "A run's score is the best of its evaluations, which looks at the world to choose",
    "last10": "A run's score is the mean of its last ten evaluations",
}
# The score of the reference.
BEST = 100.0
# What a record's evaluation says where the world stands in for another one.
STANDS_IN = ", for "


def caption(table: PaperTable) -> str:
    """Return what stands above the table: what it is, and what stands in for D4RL's worlds."""
    done = [r for r in table.records if r.status == "completed" and r.evaluations]
    instead = ", in gymnasium's counterparts of d4rl's worlds" if _stand_ins(done) else ""
    return f"{table.experiment}: normalized scores ({table.rule}){instead}"


def protocol(table: PaperTable) -> str:
    """Return the protocol in one paragraph, plain text."""
    done = [r for r in table.records if r.status == "completed" and r.evaluations]
    seeds = sorted({row.num_runs for line in table.rows for row in line.entries if row.num_runs})
    parts = [
        "Normalized scores, 0 the uniform or random policy and 100 the reference: "
        f"{_listed(_references(done))}.",
        f"{RULE_WORDS[table.rule]}; mean and standard deviation (ddof 1) over "
        f"{_span(seeds)} runs, one per seed.",
        _evaluation(done),
        _lengths(done),
        "Bold: within Student's 95 % interval of the mean that is highest in the row. "
        "An average is over the rows that all learners with a number in its part have; "
        "spreads are not averaged.",
        "Data: the policy that collected it, undegraded.",
        _beyond(table),
        *_published(table),
    ]
    return " ".join(part for part in parts if part)


def _beyond(table: PaperTable) -> str:
    """Return which learners are above the reference by more than their spread, mostly none."""
    found = [
        f"{learner.label} on {row.condition.environment}"
        for row in table.rows
        for learner, entry in zip(table.learners, row.entries, strict=True)
        if entry.mean is not None and entry.std is not None and entry.mean - entry.std > BEST
    ]
    if not found:
        return ""
    return f"Above the reference by more than a standard deviation: {_listed(found)}."


def _references(records: Iterable[RunRecord]) -> list[str]:
    """Return whose returns are 0 and 100."""
    found = {
        str(reference.get("source"))
        if isinstance(reference := r.dataset.get("reference"), dict)
        else "values of this project's own worlds, exact or from a grid"
        for r in records
    }
    return sorted(found)


def _evaluation(records: list[RunRecord]) -> str:
    """Return where policies act, and by how many episodes they are judged."""
    titles = {str(r.evaluation) for r in records if r.evaluation}
    instead = _stand_ins(records)
    own = sorted({title.partition(STANDS_IN)[0] for title in titles} - set(instead))
    simulated = [r for r in records if r.evaluations[-1].get("exact_value") is None]
    episodes = sorted({len(r.evaluations[-1].get("returns") or ()) for r in simulated})
    exact = sorted({r.environment for r in records} - {r.environment for r in simulated})
    number = sorted({len(r.evaluations) for r in records})
    parts = []
    if instead:
        parts.append(
            f"Policies act in gymnasium's {_listed(instead)}, since d4rl's own simulators of its "
            "data are not to be had"
        )
    if own:
        parts.append(f"{'others' if instead else 'Policies'} act in {_listed(own)}")
    if episodes:
        parts.append(f"{_span(episodes)} episodes an evaluation")
    if exact:
        parts.append(f"exact values on {_listed(exact)}")
    parts.append(f"{_span(number)} evaluations a run")
    return f"{'; '.join(parts)}."


def _stand_ins(records: Iterable[RunRecord]) -> list[str]:
    """Return the worlds in which policies act in place of those that their data is of."""
    parts = (str(r.evaluation).partition(STANDS_IN) for r in records if r.evaluation)
    # A world's own data is named after it: `Hopper-v5_medium` is of Hopper-v5.
    return sorted({world for world, _, data in parts if data and world.split()[0] not in data})


def _lengths(records: Iterable[RunRecord]) -> str:
    """Return how long learners were trained, those of one length together."""
    lengths = sorted({(int(r.config.get("num_updates", 0)), r.algorithm) for r in records})
    parts = [
        f"{updates:,} updates ({_listed(name for _, name in group)})"
        for updates, group in groupby(lengths, lambda pair: pair[0])
    ]
    return f"Trained for {', '.join(parts)}." if parts else ""


def _published(table: PaperTable) -> list[str]:
    """Return whose numbers stand beside ours and how they were made."""
    used = {
        (r.source.title, r.source.url, r.source.as_of, r.protocol, r.source.note)
        for row in table.rows
        for r in row.published
        if r
    }
    if not used:
        return ["No numbers were published for this data by this rule."]
    parts = [
        f"{title} ({url}{', ' + as_of if as_of else ''}; {protocol}; {note})"
        for title, url, as_of, protocol, note in sorted(used)
    ]
    return [f"Grey: as reported by {'; '.join(parts)}."]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "no"
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
