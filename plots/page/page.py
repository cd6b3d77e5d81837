"""The page: sections with numbered figures, all of it in one file."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from plots.data.frame import Frame
from plots.page.markdown import to_html
from plots.page.vector import inline_svg
from plots.sections import Section


def page(frame: Frame, found: list[Section], drawn: Path) -> str:
    """Return the report as HTML.

    Args:
        frame: What it is about.
        found: Its sections; figures are numbered through all of them.
        drawn: The folder with their figures as SVG.
    """
    place = FileSystemLoader(Path(__file__).parent, encoding="utf-8")
    loaded = Environment(loader=place, autoescape=True, undefined=StrictUndefined)
    shown: list[dict[str, Any]] = []
    number = 0
    for section in found:
        figures = []
        for illustration in section.illustrations:
            number += 1
            stem, title = illustration.stem, illustration.title
            caption = f"{illustration.caption} {illustration.note}".rstrip()
            svg = (drawn / f"{stem}.svg").read_text("utf-8")
            files = sorted(p.name for p in drawn.glob(f"{stem}.*"))
            figures.append(
                {
                    "anchor": f"figure-{stem}",
                    "svg": Markup(inline_svg(svg, f"f{number}", title, caption)),
                    "number": number,
                    "caption": caption,
                    "files": files,
                }
            )
        shown.append(
            {
                "anchor": re.sub(r"\W+", "-", section.title.lower()),
                "title": section.title,
                "figures": figures,
                "text": Markup(to_html(section.text)),
            }
        )
    command = f"python -m plots {frame.experiment}"
    opening = f"Drawn from the stored records alone by `{command}`."
    return (
        loaded.get_template("page.html").render(
            title=frame.experiment,
            opening=Markup(to_html(opening)),
            command=command,
            sections=shown,
        )
        + "\n"
    )
