"""Text in which no sign means anything."""

from plots.look.markup import escape_latex


def test_latex_is_escaped():
    assert escape_latex("a_b 5 % {x} \\ ~") == r"a\_b 5 \% \{x\} \textbackslash{} \textasciitilde{}"
