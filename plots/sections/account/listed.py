"""The runs behind every number, by learner and cell: what numbers in the report lead to."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bench.store.record import RunRecord
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import Condition, replicate
from plots.look.links import Anchors
from plots.look.markup import escape_markdown, markdown_table
from plots.sections import Section

PLACE = 12.5
COLUMNS = ("environment", "degradation", "severity", "seeds and run ids")

Cells = Mapping[tuple[Condition, str], Sequence[RunRecord]]


def section(frame: Frame) -> Section:
    """Return a table per learner, which every experiment has."""
    anchors, cells = Anchors(frame), defaultdict(list)
    for record in sorted(frame.records, key=lambda r: (r.seed, str(replicate(r)), r.run_id)):
        cells[frame.places[record.run_id], frame.labels[record.run_id]].append(record)
    name = frame.experiment
    intro = (
        f"A run's record is `results/runs/{name}/RUN_ID.json`; its `config` holds all that made "
        f"it. `python -m bench experiment={name} algorithm=NAME` makes those of one algorithm that "
        "are not stored, and further words, such as `dataset=` or `seed=`, leave fewer of them."
    )
    tables = (_learner(frame, anchors, cells, x.label, x.algorithm) for x in frame.learners)
    return Section("The runs behind each number", text="\n\n".join([intro, *tables]))


def _learner(frame: Frame, anchors: Anchors, cells: Cells, label: str, algorithm: str) -> str:
    head = f"{{#{anchors.learners[label]}}} **{escape_markdown(printed.learner(label))}**"
    rows = _rows(frame, anchors, cells, label)
    return f"{head} (`algorithm={algorithm}`):\n\n{markdown_table(COLUMNS, rows, 4).rstrip()}"


def _rows(frame: Frame, anchors: Anchors, cells: Cells, label: str) -> Iterator[list[str]]:
    for place in frame.situations:
        if (place, label) in cells:
            runs = ", ".join(map(_run, cells[place, label]))
            words = [printed.environment(place.environment), printed.degradation(place.degradation)]
            first, *others = map(escape_markdown, words)
            anchor = f"{{#{anchors.cells[place, label]}}}"
            yield [f"{anchor} {first}", *others, f"{place.severity:g}", runs]


def _run(record: RunRecord) -> str:
    ended = "" if record.status == "completed" else f" ({record.status})"
    return f"{record.seed}: `{record.run_id}`{ended}"
