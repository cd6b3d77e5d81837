"""How figures look: a colour and marker per algorithm, paper-sized fonts, same bytes each time."""

import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from plots.data.frame import Learner

# Seven colours of Okabe and Ito (2008), without the yellow that vanishes on white, then three of
# Tol's muted scheme. Ten colours and seven markers share no divisor: seventy distinct pairs.
COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000"),
    *("#882255", "#999933", "#332288"),
)
MARKERS = "os^DvPX"
# Worlds are no learners: greyed tints of a sequence of their own.
WORLD_COLORS = ("#4C566A", "#B5651D", "#6B8E4E", "#8E6C8A", "#3F7F93", "#A23B3B", "#777733")
# An algorithm's colour and marker follow from its name alone, so that a newcomer leaves those of
# others as they are. The multipliers of its hash were found by search: bc, bcq, cql, fqi, fqi_exact
# and stackelberg have the first six colours, atac, iql and td3_bc others; further ones share a
# colour with one or two, and no two that there are share colour and marker.
COLOR_MULTIPLIER = 17877601017650352753
MARKER_MULTIPLIER = 7215963006193418475
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
GREY = "0.55"

# Inches across a page of one column, and across one of its two columns.
WIDTHS = {"page": 5.5, "column": 3.25}
SUFFIXES = ("png", "svg")
# Of figures whose width was asked for, to be printed.
PRINTED = (*SUFFIXES, "pdf")
# Inches that a letter of a note takes across and a line of it down.
LETTER, LINE = 0.052, 0.12

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "stackelberg-bench",
    "svg.fonttype": "none",
    "savefig.dpi": 200,
}


class Look(NamedTuple):
    """How one learner is drawn; `hollow` markers have a white face."""

    color: str
    marker: str
    dashes: Any
    hollow: bool

    def line(self) -> dict[str, Any]:
        """Return the look as arguments of a line."""
        return {
            "color": self.color,
            "marker": self.marker,
            "linestyle": self.dashes,
            "markerfacecolor": "white" if self.hollow else self.color,
            "markeredgewidth": 0.8,
        }


def looks(learners: Sequence[Learner]) -> dict[str, Look]:
    """Return how the learners of one figure look, by label: no two alike among the first eight.

    Colour and marker say the algorithm, dashes and hollow markers which of those that share both.
    Where all are variants of one algorithm, colours and markers are free to tell them apart.
    """
    alone = len({learner.algorithm for learner in learners}) == 1
    shown: dict[str, Look] = {}
    sharing: Counter[tuple[int, int]] = Counter()
    for learner in learners:
        color = _place(learner.algorithm, COLOR_MULTIPLIER, len(COLORS))
        marker = _place(learner.algorithm, MARKER_MULTIPLIER, len(MARKERS))
        place = sharing[color, marker]
        sharing[color, marker] += 1
        shift = place if alone else 0
        shown[learner.label] = Look(
            COLORS[(color + shift) % len(COLORS)],
            MARKERS[(marker + shift) % len(MARKERS)],
            DASHES[place % len(DASHES)],
            # Filled and hollow alternate, then swap: eight differ.
            (place + place // len(DASHES)) % 2 == 1,
        )
    return shown


def _place(name: str, multiplier: int, size: int) -> int:
    """Return a number below `size`: the upper bits of the name's checksum times the multiplier."""
    product = zlib.crc32(name.encode()) * multiplier % 2**64
    return (product >> 32) * size >> 32


@contextmanager
def styled(width: str = "page") -> Iterator[None]:
    """Draw and save inside this: what the user's matplotlibrc says must not change a figure."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS | {"figure.figsize": (WIDTHS[width], WIDTHS[width])})
        yield


def text_width() -> float:
    """Return how many inches wide figures are to be that are drawn now."""
    return float(matplotlib.rcParams["figure.figsize"][0])


def save(
    figure: Figure, folder: Path, stem: str, note: str = "", suffixes: Sequence[str] = SUFFIXES
) -> None:
    """Write a figure in each format, without dates: the same figure has the same bytes.

    A note is written below it, in lines as wide as the figure.
    """
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # The layout is found once: all formats show the same, and none pays for it again.
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)
    page = _page_with(figure, note) if note else None
    for suffix in suffixes:
        figure.savefig(folder / f"{stem}.{suffix}", metadata=metadata[suffix], bbox_inches=page)


def _page_with(figure: Figure, note: str) -> Bbox:
    """Write the note below the figure and return the page, in inches, that holds both."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(note, int(width / LETTER))
    room = 1.5 * LINE + LINE * len(lines)
    for legend in figure.legends:
        # Else at the edges of the page and not of the figure.
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    place = {"x": 0.5, "y": -0.5 * LINE / height, "ha": "center", "va": "top"}
    figure.text(s="\n".join(lines), fontsize=6.5, **place)
    return Bbox.from_extents(0, -room, width, height)
