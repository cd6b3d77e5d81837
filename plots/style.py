"""How figures look: a colour and marker per algorithm, paper-sized fonts, same bytes each time."""

import zlib
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
_CONF = Path(__file__).resolve().parent.parent / "conf" / "algorithm"


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
    """Return how the learners of one figure look, by label.

    Where all are variants of one algorithm, colours and markers are free to tell them apart.
    """
    if len({learner.algorithm for learner in learners}) > 1:
        return {learner.label: look(learner) for learner in learners}
    shown = {}
    for learner in learners:
        place = _place(learner.algorithm) + learner.variant
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        shown[learner.label] = look(learner)._replace(color=color, marker=marker)
    return shown


def look(learner: Learner) -> Look:
    """Return a learner's look: colour and marker say the algorithm, dashes the variant."""
    place = _place(learner.algorithm)
    return Look(
        COLORS[place % len(COLORS)],
        MARKERS[place % len(MARKERS)],
        DASHES[learner.variant % len(DASHES)],
        # Filled and hollow alternate, then swap: eight variants differ.
        (learner.variant + learner.variant // len(DASHES)) % 2 == 1,
    )


def _place(algorithm: str) -> int:
    """Return the algorithm's place among all that are configured, the same in every experiment."""
    known = sorted(path.stem for path in _CONF.glob("*.yaml"))
    if algorithm in known:
        return known.index(algorithm)
    return zlib.crc32(algorithm.encode()) % (len(COLORS) * len(MARKERS))


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save inside this: what the user's matplotlibrc says must not change a figure."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def save(figure: Figure, folder: Path, stem: str) -> None:
    """Write a figure as PNG, SVG and PDF, without dates: the same figure has the same bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # The layout is found once: all formats show the same, and none pays for it again.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix in SUFFIXES:
        figure.savefig(folder / f"{stem}.{suffix}", metadata=metadata[suffix])
