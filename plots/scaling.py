"""Figure of how speed grows with the runs of a cohort, from ``scaling.csv``."""

import csv
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from plots.data import names as printed
from plots.look.style import COLORS, MARKERS, save, styled, text_width

Panel = tuple[int, int, int]
"""Width of the hidden layers, 0 where there is none, transitions of a minibatch, and threads."""


def draw(folder: Path, note: str) -> None:
    """Write ``scaling.png`` and ``scaling.svg``, a panel per batch, threads and width.

    The note, which names the machine, is written below the panels.
    """
    with (folder / "scaling.csv").open(encoding="utf-8", newline="") as file:
        measured = list(csv.DictReader(file))
    curves = list(dict.fromkeys((row["algorithm"], row["world"]) for row in measured))
    panels: dict[Panel, list[dict[str, str]]] = {}
    # Tables have no width: they stand beside the networks of the first.
    widths = [int(row["width"]) for row in measured if row["width"] != "0"]
    for row in measured:
        width = int(row["width"]) or min(widths, default=0)
        panel = width, int(row["batch_size"]), int(row["threads"])
        panels.setdefault(panel, []).append(row)
    with styled():
        figure = Figure(layout="constrained")
        figure.set_size_inches(text_width(), 1.6 * ((len(panels) + 1) // 2) + 0.4)
        grid = figure.subplots(
            (len(panels) + 1) // 2, min(2, len(panels)), sharex=True, sharey=True, squeeze=False
        )
        for axes, (setting, own) in zip(grid.flat, panels.items(), strict=False):
            _draw_panel(axes, setting, own, curves)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        figure.legend(
            *grid.flat[0].get_legend_handles_labels(),
            loc="outside upper center", ncols=len(curves), frameon=False,
        )  # fmt: skip
        figure.supxlabel("runs at once", fontsize=7)
        figure.supylabel("run-updates per second", fontsize=7)
        save(figure, folder, "scaling", note)


def _draw_panel(
    axes: Axes, panel: Panel, own: list[dict[str, str]], curves: list[tuple[str, str]]
) -> None:
    width, batch_size, threads = panel
    for (algorithm, world), rows in groupby(own, key=lambda r: (r["algorithm"], r["world"])):
        place = curves.index((algorithm, world))
        runs, rates = zip(*((int(row["runs"]), float(row["rate"])) for row in rows), strict=True)
        label = f"{printed.learner(algorithm)}, {printed.environment(world)}"
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        axes.plot(runs, rates, color=color, marker=marker, label=label)
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    axes.set_xticks(sorted({int(row["runs"]) for row in own}))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    wide = f"2 x {width}, " if width else ""
    axes.set_title(f"{wide}batch {batch_size}, {threads} thread{'s' if threads > 1 else ''}")
