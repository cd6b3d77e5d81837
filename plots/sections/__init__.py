"""Sections of a report: one product, one file.

A file in one of these folders is a section of every experiment that has the numbers for it. It says
its ``PLACE`` among the others and has a function ``section(frame) -> Section | None``.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from plots.data.frame import Frame


class Illustration(NamedTuple):
    """A figure: its file without suffix, how to draw it, what it is in a few words and in many.

    Attributes:
        draw: Returns the figure of matplotlib.
        note: What must be read with the figure wherever it goes; it is written into it too.
    """

    stem: str
    draw: Callable[[], Any]
    title: str
    caption: str
    note: str = ""


class TextFile(NamedTuple):
    """A text beside the report; `kept` says whether it goes to the reference results too."""

    name: str
    text: str
    kept: bool = True


@dataclass(frozen=True)
class Section:
    """What one product adds to the report, the terminal and the folder.

    Attributes:
        title: Its heading.
        illustrations: Its figures.
        text: What follows them, Markdown.
        files: What is written beside the report.
        screen: What a terminal shows: sentences and tables of rich.
    """

    title: str
    illustrations: tuple[Illustration, ...] = ()
    text: str = ""
    files: tuple[TextFile, ...] = ()
    screen: tuple[Any, ...] = ()


def sections(frame: Frame) -> Iterator[Section]:
    """Yield the sections that the experiment has the numbers for, in the order of their places."""
    for module in sorted(_modules(), key=lambda module: (module.PLACE, module.__name__)):
        section: Section | None = module.section(frame)
        if section is not None:
            yield section


def _modules() -> Iterable[Any]:
    found = pkgutil.walk_packages(__path__, f"{__name__}.")
    return [importlib.import_module(m.name) for m in found if not m.ispkg]
