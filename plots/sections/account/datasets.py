"""The data of every condition: how much is left of it and what it still covers."""

from collections import defaultdict
from statistics import mean

from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.markup import escape_markdown, markdown_table
from plots.sections import Section

PLACE = 10
COVERAGES = ("support_fraction", "inverse_concentrability", "nearest_neighbor_support", "saco")


def section(frame: Frame) -> Section:
    """Return a line per condition, a mean over its datasets."""
    found: dict[Condition, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    contents: dict[Condition, set[str]] = defaultdict(set)
    for record in frame.records:
        place = frame.places[record.run_id]
        contents[place].add(str(record.dataset.get("fingerprint", record.seed)))
        numbers = {
            "transitions": record.dataset.get("num_transitions"),
            "episodes": record.dataset.get("num_episodes"),
            "mean return": record.dataset.get("mean_return"),
            "behavior value": record.values.get("behavior"),
            **{name: record.coverage.get(name) for name in COVERAGES},
        }
        for name, value in numbers.items():
            if value is not None:
                found[place][name].append(float(value))
    names = ["transitions", "episodes", "mean return", "behavior value", *COVERAGES]
    names = [name for name in names if any(name in numbers for numbers in found.values())]
    rows = []
    for place in frame.situations:
        words = [printed.environment(place.environment), printed.degradation(place.degradation)]
        means = [f"{mean(v):.4g}" if (v := found[place].get(name)) else "" for name in names]
        severity = f"{place.severity:g}"
        rows.append([*map(escape_markdown, words), severity, len(contents[place]), *means])
    columns = ["environment", "degradation", "severity", "datasets", *map(printed.measure, names)]
    text = (
        f"{markdown_table(columns, rows, 2)}\nMeans over the datasets of each condition, one per "
        "seed; what each run was trained on is in [runs.csv](runs.csv)."
    )
    return Section("Data and what it covers", text=text)
