"""The report: every section's figures, texts and files, in one folder with one HTML page."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.store.folders import REPORT
from plots.data.frame import Frame
from plots.look import style
from plots.page.page import page
from plots.sections import Section

# In a folder that was written here: the names of all that was.
WRITTEN = ".written"


def write_report(
    frame: Frame, found: list[Section], folder: Path, width: str | None = None
) -> None:
    """Write figures, tables and ``report.html`` of the sections into the folder.

    Figures whose width is asked for, one of `style.WIDTHS`, are to be printed: they get a PDF too.
    """
    suffixes = style.SUFFIXES if width is None else style.PRINTED
    with exchanged(folder) as draft:
        for section in found:
            for illustration in section.illustrations:
                with style.styled(width or "page"):
                    figure = illustration.draw()
                    style.save(figure, draft, illustration.stem, illustration.note, suffixes)
            for file in section.files:
                (draft / file.name).write_text(file.text, "utf-8")
        (draft / REPORT).write_text(page(frame, found, draft), "utf-8")


@contextmanager
def exchanged(folder: Path) -> Iterator[Path]:
    """Give a draft folder whose files are moved into `folder` once all are there.

    A failure leaves what was there before. What an earlier time wrote here and this one has not is
    removed; whatever else is in the folder stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=".draft-"))
    try:
        yield draft
        names = sorted(path.name for path in draft.iterdir())
        earlier = folder / WRITTEN
        for name in earlier.read_text("utf-8").splitlines() if earlier.exists() else []:
            # A name of this folder and not a path that leads out of it.
            if name not in names and Path(name).name == name:
                (folder / name).unlink(missing_ok=True)
        (draft / WRITTEN).write_text("".join(f"{name}\n" for name in names), "utf-8")
        for name in (WRITTEN, *names):
            os.replace(draft / name, folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def show(found: list[Section]) -> None:
    """Print what sections have for the screen; not on a terminal, as wide as it wants to be."""
    console = Console()
    for shown in (item for section in found for item in section.screen):
        if isinstance(shown, str):
            console.print(shown, width=min(console.width, 100), highlight=False, markup=False)
            continue
        if not console.is_terminal:
            console.width = max(console.width, Console(width=1000).measure(shown).maximum)
        console.print(shown)
