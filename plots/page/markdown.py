"""The Markdown of sections as HTML: paragraphs, lists, tables and marks within a line."""

import html
import re

# An escaped sign, code, a link, bold words or words in italics; what stands between them is text.
INLINE = re.compile(
    r"\\([\\|*_`<>\[\]])|`([^`]+)`|\[((?:\\.|[^\]])+)\]\(([^)\s]+)\)"
    r"|\*\*(.+?)\*\*|\*((?:\\.|[^*\s])(?:(?:\\.|[^*])*(?:\\.|[^*\s]))?)\*"
)
RULE = re.compile(r"^\|(?: *:?-+:? *\|)+$")
CELL = re.compile(r"(?<!\\)\|")
# At the start of a line of words or of a table: what links lead to.
ANCHOR = re.compile(r"(\| *)?\{#([\w-]+)\} *")


def to_html(text: str) -> str:
    """Return blocks, which blank lines part, as HTML; what is no table and no list is words."""
    return "\n".join(_block(block.splitlines()) for block in re.split(r"\n\s*\n", text) if block)


def inline(text: str) -> str:
    """Return a line of Markdown as HTML in which no other sign means anything."""
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts.append(html.escape(text[end : found.start()]))
        end = found.end()
        sign, code, words, target, bold, italic = found.groups()
        if sign:
            parts.append(html.escape(sign))
        elif code:
            parts.append(f"<code>{html.escape(code)}</code>")
        elif words:
            parts.append(f'<a href="{html.escape(target)}">{inline(words)}</a>')
        elif bold:
            parts.append(f"<strong>{inline(bold)}</strong>")
        else:
            parts.append(f"<em>{inline(italic)}</em>")
    return "".join([*parts, html.escape(text[end:])])


def _block(lines: list[str]) -> str:
    for start, line in enumerate(lines):
        if RULE.match(line) and start > 0:
            end = start + 1
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            parts = [lines[: start - 1], lines[end:]]
            before, after = (_block(part) if part else "" for part in parts)
            return f"{before}{_table(lines[start - 1], line, lines[start + 1 : end])}{after}"
    if lines[0].startswith("- "):
        items = re.split(r"^- ", "\n".join(lines), flags=re.M)[1:]
        return f"<ul>{''.join(f'<li>{inline(item.strip())}</li>' for item in items)}</ul>"
    anchor, first = _anchored(lines[0])
    return f"<p{anchor}>{inline(' '.join([first, *lines[1:]]))}</p>"


def _anchored(line: str) -> tuple[str, str]:
    """Return the anchor at the start of a line as an attribute, and the line without it."""
    found = ANCHOR.match(line)
    if found is None:
        return "", line
    return f' id="{found[2]}"', f"{found[1] or ''}{line[found.end() :]}"


def _table(head: str, rule: str, rows: list[str]) -> str:
    right = [cell.strip().endswith(":") for cell in _cells(rule)]
    parts = [_row("th", head, right), *(_row("td", row, right) for row in rows)]
    body = "".join(parts[1:])
    return (
        '<div class="table"><table class="sortable"><thead>'
        f"{parts[0]}</thead><tbody>{body}</tbody></table></div>"
    )


def _row(tag: str, line: str, right: list[bool]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    number = ' class="number"'
    anchor, line = _anchored(line)
    cells = [
        f"<{tag}{scope}{number * is_number}>{inline(cell.strip())}</{tag}>"
        for cell, is_number in zip(_cells(line), right, strict=True)
    ]
    return f"<tr{anchor}>{''.join(cells)}</tr>"


def _cells(line: str) -> list[str]:
    return CELL.split(line.strip()[1:-1])
