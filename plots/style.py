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

from plots.frame import Learner

# Seven colours of Okabe and Ito (2008), without the yellow that vanishes on white, then three of
# Tol's muted scheme. Ten colours and seven markers share no divisor: seventy distinct pairs.
COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000"),
    *("#882255", "#999933", "#332288"),
)
MARKERS = "os^DvPX"
# An algorithm's colour and marker follow from its name alone, so that a newcomer leaves those of
# others as they are. The multipliers of its hash were found by search: bc, bcq, cql, fqi, fqi_exact
# and stackelberg have the first six, iql, atac, td3_bc, crr, vi_lcb, spibb, pspi and cppo use what
# is left, and of all fourteen no three share a colour or a marker and no two both.
COLOR_MULTIPLIER = 10693479330918022791
MARKER_MULTIPLIER = 9455699486363741493
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
GREY = "0.55"

TEXT_WIDTH = 5.5
SUFFIXES = ("png", "svg", "pdf")

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
def styled() -> Iterator[None]:
    """Draw and save inside this: what the user's matplotlibrc says must not change a figure."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def save(figure: Figure, folder: Path, stem: str, note: str) -> None:
    """Write a figure as PNG, SVG and PDF, without dates: the same figure has the same bytes.

    A note is written below everything, in lines as wide as the figure.
    """
    if note:
        _write_below(figure, note)
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # The layout is found once: all formats show the same, and none pays for it again.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix in SUFFIXES:
        figure.savefig(folder / f"{stem}.{suffix}", metadata=metadata[suffix])


def _write_below(figure: Figure, note: str) -> None:
    width, height = figure.get_size_inches()
    # A letter of this size takes about 0.052 inches, a line 0.12.
    lines = textwrap.wrap(note, int(width / 0.052))
    room = 0.12 * len(lines) + 0.06
    figure.set_size_inches(width, height + room)
    share = room / (height + room)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    figure.text(0.5, share / 2, "\n".join(lines), fontsize=6.5, ha="center", va="center")
