"""What a report holds beyond the standard figures and the table, where the records have it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from plots.frame import Frame
from plots.sections.comparisons import csv_of_comparisons
from plots.sections.contrasts import contrasts_csv
from plots.sections.heatmap import draw_heat_map, heat_map_caption
from plots.sections.measures import draw_measures, measures_caption, measures_table
from plots.sections.ranking import Rank, ranking_csv
from plots.sections.verdicts import contrasts_text


@dataclass(frozen=True)
class Illustration:
    """A figure of a section: its file without suffix, how to draw it, what stands below it."""

    stem: str
    draw: Callable[[], Figure]
    title: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its heading.
        illustrations: Its figures.
        text: What follows them, Markdown.
        files: Texts that are written beside the report, by name.
    """

    title: str
    illustrations: tuple[Illustration, ...]
    text: str
    files: Mapping[str, str]


# Of every learner so many of the best variants are shown, and the worst.
SHOWN = 3
# Every name that a section's files may have, so that those of an earlier time can be removed.
FILES = ("measures.*", "heatmap_*", "ranking.*", "contrasts.*")


def sections(frame: Frame) -> Iterator[Section]:
    """Yield the sections that the experiment has the numbers for."""
    if frame.comparisons:
        yield _measures(frame)
    if frame.heat_maps:
        yield _heat_maps(frame)
    if frame.ranking:
        yield _ranking(frame)
    if frame.contrasts.rows:
        files = {"contrasts.csv": contrasts_csv(frame.contrasts.rows)}
        yield Section("Against the best of the others", (), contrasts_text(frame.contrasts), files)


def _measures(frame: Frame) -> Section:
    compared = frame.comparisons
    table = measures_table(compared)
    text = (
        f"{table}\n"
        "`exact above 0`: on how many datasets the exact counterpart is above 0. `within a "
        "dataset`: the median of the rank correlations over the degradations of one dataset, in "
        "parentheses of how many: an estimate may tell worlds apart and not what was taken from "
        "them. All points are in [measures.csv](measures.csv)."
    )
    figure = Illustration(
        "measures",
        partial(draw_measures, compared),
        "estimates against exact measures",
        measures_caption(compared),
    )
    files = {"measures.csv": csv_of_comparisons(compared), "measures.md": table}
    return Section("Measures of coverage", (figure,), text, files)


def _heat_maps(frame: Frame) -> Section:
    figures = tuple(
        Illustration(
            heat_map.stem,
            partial(draw_heat_map, heat_map),
            f"regret by {' and '.join(heat_map.settings)}".replace("_", " "),
            heat_map_caption(heat_map),
        )
        for heat_map in frame.heat_maps
    )
    return Section("Sensitivity", figures, "", {})


def _ranking(frame: Frame) -> Section:
    text = (
        f"{ranking_table(frame.ranking)}\n"
        "Mean normalized regret over the conditions that all variants of a learner have; the "
        "standard error is over runs. All variants are in [ranking.csv](ranking.csv)."
    )
    files = {"ranking.csv": ranking_csv(frame.ranking)}
    return Section("Learners by mean regret", (), text, files)


def ranking_table(ranks: tuple[Rank, ...]) -> str:
    """Return the best variants of every learner, and its worst, as a table in Markdown."""
    lines = [
        "| | learner | place | mean regret | standard error |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    last = {(r.kind, r.algorithm): r.place for r in ranks}
    for rank in ranks:
        total = last[rank.kind, rank.algorithm]
        if rank.place <= SHOWN or rank.place == total:
            place = f"{rank.place} of {total}"
            label = rank.label.replace("|", "\\|").replace("_", "\\_")
            lines.append(
                f"| {rank.kind} | {label} | {place} | {rank.regret:.3f} | {rank.error:.3f} |"
            )
    return "\n".join(lines) + "\n"
