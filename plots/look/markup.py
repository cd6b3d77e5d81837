"""Tables as CSV and Markdown, and text whose signs mean nothing to Markdown, LaTeX or a folder."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], digits: int = 6) -> str:
    """Return a line per row, numbers with that many digits; None and what lacks is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_entry(row.get(column), digits) for column in columns])
    return text.getvalue()


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]], num_words: int) -> str:
    """Return the table; entries are Markdown, columns after the first `num_words` stand right."""
    rule = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in (columns, rule, *rows))


def escape_markdown(text: str) -> str:
    """Return text whose signs mean nothing to Markdown, a table's included."""
    return "".join(f"\\{sign}" if sign in r"\|*_`<>[]" else sign for sign in text)


def escape_latex(text: str) -> str:
    """Return text whose signs mean nothing to LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    # Behind the end of a row these would be an argument of it.
    special |= {sign: f"{{{sign}}}" for sign in "[]*"}
    return "".join(special.get(sign, sign) for sign in text)


def file_stem(text: str) -> str:
    """Return text as a file's name without suffix: environments may be named like paths."""
    return re.sub(r"[^\w-]+", "_", text)


def _entry(value: Any, digits: int) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else value
