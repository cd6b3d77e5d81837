"""Plain characters where a terminal, a pipe or a file of its output cannot hold others."""

import codecs
import sys
import unicodedata
from typing import TextIO

# What is printed here, and what names may hold, in characters that every encoding has.
PLAIN = str.maketrans(
    {"†": "+", "\N{MULTIPLICATION SIGN}": "x", "…": "...", "±": "+-", "µ": "u", "•": "*"}
    | dict.fromkeys("\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}", "-")
    | dict.fromkeys("─━╴╶╸╺╌╍", "-")
    | dict.fromkeys("│┃╷╵╹╻", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┡┩╇╈", "+")
    | dict.fromkeys("█▉▊▋▌▍▎▏▐", "#")
    | dict.fromkeys("“”„", '"')
    | dict.fromkeys("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}", "'")
)


def plain(text: str) -> str:
    """Return text in ASCII: accents are left out, what has no like becomes a question mark."""
    known = unicodedata.normalize("NFKD", text.translate(PLAIN))
    bare = "".join(c for c in known if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return plain(error.object[error.start : error.end]), error.end


codecs.register_error("plain", _replaced)


def print_whatever_can_be() -> None:
    """Let what is printed become plain where the output has no such character."""
    for stream in (sys.stdout, sys.stderr):
        _let_be_plain(stream)


def _let_be_plain(stream: TextIO | None) -> None:
    # Not every stand-in for a terminal can be told.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="plain")
