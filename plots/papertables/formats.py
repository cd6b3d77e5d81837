"""A table for screen, Markdown, HTML and LaTeX, from one sheet of words."""

from html import escape

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from plots.look.markup import escape_latex, escape_markdown, markdown_table
from plots.papertables.printed import Head, Line, Printed, Sheet

STYLE = (
    "body{font-family:sans-serif;max-width:75em;margin:2em auto}table{border-collapse:collapse;"
    "border-top:2px solid;border-bottom:2px solid}th,td{padding:.2em .6em;text-align:right}"
    "th{border-bottom:1px solid}td:first-child,th:first-child{text-align:left}"
    ".reported{color:#888}.average td{border-top:1px solid;border-bottom:1px solid}"
)


def screen(sheet: Sheet, title: str) -> Table:
    """Return the table for a terminal; an asterisk too, since bold type does not survive a pipe."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title)
    table.add_column("dataset", no_wrap=True)
    if sheet.has_losses:
        table.add_column("coverage", no_wrap=True)
    for head in sheet.heads:
        words = "\n".join(_words_of(head))
        table.add_column(Text(words, style="dim" if head.source else ""), justify="right")
    for part in sheet.parts:
        for line in part:
            style = "dim" if line.average else ""
            table.add_row(*_words(sheet, line), *map(_shown, line.cells), style=style)
        table.add_section()
    return table


def markdown(sheet: Sheet) -> str:
    """Return the table in Markdown, which has no grey: published numbers stand in italics."""
    heads = ["dataset", *(["coverage"] if sheet.has_losses else [])]
    names = [
        escape_markdown(h.learner) + (f" [*{escape_markdown(h.source)}*]" if h.source else "")
        for h in sheet.heads
    ]
    rows = [
        [*(_italic(w, line) for w in _words(sheet, line)), *map(_in_markdown, line.cells)]
        for part in sheet.parts
        for line in part
    ]
    table = markdown_table([*heads, *names], rows, len(heads))
    notes = [f"<sup>{letter}</sup> {escape_markdown(why)}" for letter, why in sheet.notes.items()]
    return "\n\n".join([table.rstrip(), *notes]) + "\n"


def html(sheet: Sheet, title: str, below: str) -> str:
    """Return a page that holds the table and needs nothing else."""
    heads = ["dataset", *(["coverage"] if sheet.has_losses else [])]
    named = [f"<th>{head}</th>" for head in heads] + [_html_head(head) for head in sheet.heads]
    lines = [
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><table>",
        f"<thead><tr>{''.join(named)}</tr></thead><tbody>",
    ]
    for line in (line for part in sheet.parts for line in part):
        words = "".join(f"<td>{escape(word)}</td>" for word in _words(sheet, line))
        row = " class=average" if line.average else ""
        lines.append(f"<tr{row}>{words}{''.join(map(_in_html, line.cells))}</tr>")
    lines.append("</tbody></table>")
    lines += [f"<p><sup>{x}</sup> {escape(why)}</p>" for x, why in sheet.notes.items()]
    return "\n".join([*lines, f"<p>{escape(below)}</p></html>"]) + "\n"


def latex(sheet: Sheet, label: str, caption: str, below: str) -> str:
    """Return the table in LaTeX, which needs ``booktabs`` and ``xcolor``."""
    heads = ["dataset", *(["coverage"] if sheet.has_losses else [])]
    names = [_stacked(head) for head in sheet.heads]
    lines = [
        r"% needs \usepackage{booktabs,xcolor}",
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in label)}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{{'l' * len(heads)}{'r' * len(names)}}}",
        r"\toprule",
        " & ".join([*heads, *names]) + r" \\",
    ]
    for part in sheet.parts:
        lines.append(r"\midrule")
        for line in part:
            if line.average and len(part) > 1:
                lines.append(r"\addlinespace")
            words = map(escape_latex, _words(sheet, line))
            lines.append(" & ".join([*words, *map(_in_latex, line.cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [
        rf"\par\raggedright\textsuperscript{{{x}}} {escape_latex(why)}"
        for x, why in sheet.notes.items()
    ]
    lines.append(rf"\par\raggedright {escape_latex(below)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _words(sheet: Sheet, line: Line) -> list[str]:
    return [line.dataset, *([line.loss] if sheet.has_losses else [])]


def _words_of(head: Head) -> list[str]:
    """Return a column's name as the words that stand below each other."""
    return head.learner.split(" ") + ([f"[{head.source}]"] if head.source else [])


def _plain(cell: Printed) -> str:
    return f"{cell.mean} ± {cell.std}" if cell.std else cell.mean


def _shown(cell: Printed) -> Text:
    mark = f" ({cell.note})" if cell.note else ""
    style = "dim" if cell.grey else "bold" if cell.bold else ""
    return Text(f"{_plain(cell)}{mark}{'*' if cell.bold else ' '}", style=style)


def _italic(word: str, line: Line) -> str:
    escaped = escape_markdown(word)
    return f"*{escaped}*" if line.average and escaped else escaped


def _in_markdown(cell: Printed) -> str:
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    sign = "**" if cell.bold else "*" if cell.grey and cell.mean else ""
    return f"{sign}{_plain(cell)}{sign}{note}"


def _html_head(head: Head) -> str:
    if not head.source:
        return f"<th>{escape(head.learner)}</th>"
    return f"<th class=reported>{escape(head.learner)}<br>{escape(head.source)}</th>"


def _in_html(cell: Printed) -> str:
    text = escape(_plain(cell))
    text = f"<b>{text}</b>" if cell.bold else text
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    return f"<td{' class=reported' if cell.grey else ''}>{text}{note}</td>"


def _in_latex(cell: Printed) -> str:
    number = cell.mean.replace("-", r"\textminus{}")
    if cell.std:
        number += rf"\,{{\tiny$\pm$\,{cell.std}}}"
    if cell.bold:
        number = rf"\textbf{{{number}}}"
    if cell.grey and number:
        number = rf"\textcolor{{gray}}{{{number}}}"
    return number + (rf"\rlap{{\textsuperscript{{{cell.note}}}}}" if cell.note else "")


def _stacked(head: Head) -> str:
    lines = r"\\".join(map(escape_latex, _words_of(head)))
    text = rf"\shortstack[r]{{{lines}}}"
    return rf"\textcolor{{gray}}{{{text}}}" if head.source else text
