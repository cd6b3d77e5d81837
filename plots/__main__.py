"""``python -m plots EXPERIMENT``: figures, tables and a report from stored records alone."""

import argparse
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.store.records import RunStore
from plots.frame import Frame, build_frame
from plots.records import UnusableRecords, read_records
from plots.report import markdown_report
from plots.sections.base import FILES, sections
from plots.sections.longform import csv_table
from plots.sections.panel import Plot
from plots.sections.regret import PLOTS, draw, pages, rows
from plots.sections.tables import latex_table, markdown_table, screen_caption, screen_table
from plots.style import SUFFIXES, save, styled


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one experiment and return the exit status: 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m plots", description=__doc__)
    parser.add_argument("experiment", help="folder of records under --store")
    parser.add_argument(
        "--store", type=Path, default=Path("results/runs"), help="root of the run records"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/figures"),
        help="folder under which a folder of the experiment's name is written",
    )
    options = parser.parse_args(arguments)
    try:
        records = read_records(RunStore(options.store), options.experiment)
        frame = build_frame(options.experiment, records)
        folder = write(frame, options.output)
    except UnusableRecords as problem:
        print(problem, file=sys.stderr)
        return 2
    except OSError as problem:
        print(f"{problem.filename}: {problem.strerror}.", file=sys.stderr)
        return 2
    show(frame)
    print(f"Figures, tables and report.md are in {folder}.")
    return 0


def write(frame: Frame, output: Path) -> Path:
    """Write everything under ``output/<experiment>`` and return that folder.

    Files are made in a temporary folder and moved once all are there, so that a failure leaves
    what was there before. A figure of an earlier time that no longer applies is removed.
    """
    folder = output / frame.experiment
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=".draft-"))
    try:
        figures = _draw_all(frame, draft)
        texts = {
            "cells.csv": csv_table(frame),
            "table.md": markdown_table(frame),
            "table.tex": latex_table(frame),
            "report.md": markdown_report(frame, figures),
        }
        for name, text in texts.items():
            (draft / name).write_text(text)
        for section in sections(frame):
            for name, text in section.files.items():
                (draft / name).write_text(text)
        drawn = [f"{plot.stem}*.{suffix}" for plot in PLOTS for suffix in SUFFIXES]
        for pattern in (*drawn, *FILES):
            for path in folder.glob(pattern):
                if not (draft / path.name).exists():
                    path.unlink()
        for path in sorted(draft.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def show(frame: Frame) -> None:
    """Print the table, where the output is not a terminal as wide as it wants to be."""
    console = Console()
    table = screen_table(frame)
    if not console.is_terminal:
        console.width = max(console.width, Console(width=1000).measure(table).maximum)
    console.print(table)
    console.print(screen_caption(frame), width=min(console.width, 100), highlight=False)


def _draw_all(frame: Frame, folder: Path) -> dict[Plot, list[str]]:
    """Save the figures that the records have the numbers for; return each with its rows."""
    drawn = {}
    for plot in itertools.chain.from_iterable(pages(frame, plot) for plot in PLOTS):
        with styled():
            figure = draw(frame, plot)
            if figure is not None:
                save(figure, folder, plot.stem)
                drawn[plot] = rows(frame, plot)
    for section in sections(frame):
        for illustration in section.illustrations:
            with styled():
                save(illustration.draw(), folder, illustration.stem)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
