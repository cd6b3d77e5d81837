"""A figure of matplotlib as part of a page: named for who cannot see it, light or dark with it."""

import html
import re

# Colours of a figure that are paper or ink, as the page names them; learners keep theirs.
PAGE_COLORS = {
    "#ffffff": "var(--paper)",
    "white": "var(--paper)",
    "#000000": "var(--ink)",
    "#f2f2f2": "var(--faint)",
    "#c7c7c7": "var(--mark)",
}
COLOR = re.compile(r"(?<=[:\" ])(?:#ffffff|#000000|#f2f2f2|#c7c7c7|white)(?=[;\"])")
LONG = re.compile(r"(-?\d+\.\d{2})\d+")
# Figures are as wide as a printed page, with letters of 7 points: on a screen those are small.
ENLARGED = 1.5


def inline_svg(svg: str, name: str, title: str, description: str) -> str:
    """Return an SVG file's text as an element of a page.

    Args:
        svg: What matplotlib wrote.
        name: What is put before its ids, which other figures have too.
        title: What it is in a few words.
        description: What it shows.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    # Namespaces are no part of HTML, nor do they need to be named there.
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = LONG.sub(r"\1", COLOR.sub(lambda found: PAGE_COLORS[found.group()], text))
    # Text without a colour of its own is black by default.
    opening, _, rest = text.partition(">")
    size = re.search(r'viewBox="0 0 ([\d.]+)', opening)
    opening = re.sub(r' (?:width|height|version)="[^"]*"', "", opening)
    width = f"{ENLARGED * (float(size.group(1)) if size else 400):.0f}pt"
    labels = f'role="img" aria-labelledby="{name}-title {name}-desc" style="width:{width}"'
    return (
        f'{opening} {labels}><title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{html.escape(description)}</desc>{rest}'
    )
