"""The runs behind all else: how they ended, which cells lack some, and a line for each as CSV."""

from collections.abc import Mapping
from typing import Any

from bench.store.labels import varying
from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import DIGITS, error_line, flatten
from plots.look.captions import cautions, statuses
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 12
MOST_ERRORS = 5

# The columns of runs.csv with their meaning; plots/README.md has the same. First those of the run,
# then what the fields of a record hold under these names.
RUN = {
    "run_id": "hash of all that can change the result, the seed included",
    "status": "`completed`, `empty` (the degradation left no data) or `failed`",
    "error": "last line of what went wrong",
    "algorithm": "its name",
    "learner": "its name in figures: the algorithm with the settings that set its runs apart",
    "environment": "name of the dataset: the world and who collected",
    "degradation": "how its coverage was lowered, as named in figures; `none` at severity 0",
    "severity": "how much, from 0 to 1",
    "seed": "names the training",
    "dataset_seed": "names world, collection and degradation",
    "code": "fingerprint of the algorithm's code",
    "num_updates": "updates it was to make",
}
FIELDS = {
    "final": {
        "value": "what regrets are made of: the exact value where it is known, else the mean"
        " of the episodes, discounted where values are",
        "return_mean": "mean return of the episodes of the last evaluation",
        "sampled_value": "value where actions are sampled instead of taken by their mode",
        "normalized_score": "0 the uniform policy, 100 the optimum",
        "regret": "optimum - value",
        "normalized_regret": "regret / (optimum - uniform)",
        "regret_to_covered": "best_covered - value; below 0 better than the data can vouch for",
        "regret_to_support": "best_supported - value, likewise",
        "improvement": "value - behavior",
    },
    "values": {
        "optimum": "value of the optimal policy, or of the reference",
        "uniform": "value of the uniformly random policy",
        "behavior": "value of the policy that collected the data",
        "best_covered": "value of the best policy where what has no data is worth `v_min`",
        "best_supported": "value of the best policy of actions that data has where it has any, and"
        " uniform where it has none",
    },
    "coverage": {
        "comparator": "whose coverage the estimates are of",
        "support_fraction": "share of the optimal policy's occupancy on pairs with data, or on"
        " cells with data nearby",
        "inverse_concentrability": "smallest data / occupancy; 0 where anything is uncovered",
        "inverse_l2_concentrability": "1 / mean squared occupancy / data; 0 likewise",
        "nearest_neighbor_support": "share of the comparator's steps near the data",
        "effective_sample_size": "1 / the comparator's mean density ratio, by a classifier",
        "inverse_relative_condition_number": "of random features of comparator and data",
        "saco": "unique (state, action) cells relative to the full data",
        "tq": "mean value of the episodes, 0 the uniform policy's, 1 the optimum's",
    },
    "dataset": {
        "num_transitions": "transitions that were trained on",
        "num_episodes": "episodes that these are of",
        "mean_return": "mean return of these episodes as they were collected",
        "fingerprint": "hash of the data",
    },
    "timing": {
        "updates_per_second": "of this run in its cohort",
        "wall_seconds": "of the whole cohort",
        "peak_memory_mb": "of the process",
        "peak_gpu_memory_mb": "of the GPU",
        "cohort_size": "runs trained together",
    },
}
COLUMNS = RUN | {name: words for named in FIELDS.values() for name, words in named.items()}
# Settings that have a column of their own.
SHOWN = (
    "algorithm.name", "dataset.name", "coverage.name", "coverage.severity", "seed", "dataset.seed",
    "num_updates",
)  # fmt: skip


def section(frame: Frame) -> Section:
    """Return the section, which every experiment has."""
    parts = [statuses(frame), escape_markdown(cautions(frame)), *_remarks(frame)]
    parts.append("Every run is a line of [runs.csv](runs.csv).")
    text = "\n\n".join(part for part in parts if part)
    return Section("Runs", text=text, files=(TextFile("runs.csv", runs_csv(frame), kept=False),))


def runs_csv(frame: Frame) -> str:
    """Return a line per run: `COLUMNS`, then every other setting that is not the same in all.

    Settings have the dotted names that they have on the command line. A final number, value or
    measure of coverage that has no column yet gets one with a dotted name too.
    """
    settings = {r.run_id: _settings(r) for r in frame.records}
    rows = [_row(frame, record) for record in frame.records]
    further = sorted(set().union(*rows).difference(COLUMNS, *settings.values()))
    for row in rows:
        row |= settings[row["run_id"]]
    return csv_table([*COLUMNS, *further, *sorted(varying(settings.values()))], rows, DIGITS)


def _row(frame: Frame, record: RunRecord) -> dict[str, Any]:
    place = frame.places[record.run_id]
    row: dict[str, Any] = {
        "run_id": record.run_id,
        "status": record.status,
        "error": error_line(record),
        "algorithm": record.algorithm,
        "learner": frame.labels[record.run_id],
        "environment": record.environment,
        "degradation": place.degradation,
        "severity": place.severity,
        "seed": record.seed,
        "dataset_seed": record.config.get("dataset", {}).get("seed"),
        "code": record.code,
        "num_updates": record.config.get("num_updates"),
    }
    for name, known in FIELDS.items():
        held: Mapping[str, Any] = getattr(record, name)
        row |= {column: held.get(column) for column in known}
        if name in ("final", "values", "coverage"):
            row |= {
                f"{name}.{key}": value
                for key, value in held.items()
                if key not in known and isinstance(value, int | float)
            }
    return row


def _settings(record: RunRecord) -> dict[str, str]:
    return {name: text for name, text in flatten(record.config).items() if name not in SHOWN}


def _remarks(frame: Frame) -> list[str]:
    remarks = []
    if repeated := sum(cell.num_repeated for cell in frame.cells.values()):
        remarks.append(
            f"{repeated} records repeat a seed of their cell with the same settings and count as "
            "runs of their own."
        )
    never = [
        f"{learner.label} on {environment}"
        for learner in frame.learners
        for environment in frame.environments
        if not any((place, learner.label) in frame.cells for place in frame.conditions(environment))
    ]
    if never:
        remarks.append(f"Not part of the experiment: {escape_markdown(', '.join(never))}.")
    errors = sorted({line for record in frame.records if (line := error_line(record))})
    if errors:
        shown = [f"- {escape_markdown(error)}" for error in errors[:MOST_ERRORS]]
        more = len(errors) - len(shown)
        remarks.append("\n".join(["Errors:", "", *shown, *([f"- and {more} others"] * (more > 0))]))
    if incomplete := _incomplete(frame):
        remarks += ["Cells that lack runs:", incomplete]
    return remarks


def _incomplete(frame: Frame) -> str:
    """Return a table of the cells that lack runs, empty if none does."""
    columns = ["environment", "degradation", "severity", "learner"]
    columns += ["completed", "empty", "failed", "missing"]
    rows = []
    for place in frame.situations:
        for learner in frame.learners:
            cell = frame.cells.get((place, learner.label))
            if cell is not None and (cell.num_empty or cell.num_failed or cell.num_missing):
                words = [place.environment, place.degradation, f"{place.severity:g}", learner.label]
                numbers = [cell.num_runs, cell.num_empty, cell.num_failed, cell.num_missing]
                rows.append([*map(escape_markdown, words), *numbers])
    return markdown_table(columns, rows, 4).rstrip() if rows else ""
