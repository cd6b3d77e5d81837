"""Text in which no sign means anything."""

from plots.look.markup import escape_latex


def test_latex_is_escaped():
    assert escape_latex("a_b 5 % {x} \\ ~") == r"a\_b 5 \% \{x\} \textbackslash{} \textasciitilde{}"


def test_nothing_is_taken_for_an_argument_of_the_row_before_it():
    assert escape_latex("[x]*") == "{[}x{]}{*}"
