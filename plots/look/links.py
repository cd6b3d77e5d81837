"""Links from numbers to the runs behind them, which the section on runs lists."""

from collections.abc import Callable

from plots.data.frame import Frame
from plots.data.records import Condition

# Of a text in Markdown, a learner's label and a condition, None for all that the learner has: the
# text as a link.
Link = Callable[[str, str, Condition | None], str]


class Anchors:
    """Where the runs of a learner begin, and those of each of its cells."""

    def __init__(self, frame: Frame):
        """Name them by their places, since labels hold signs that no anchor may."""
        self.learners = {x.label: f"runs-{place}" for place, x in enumerate(frame.learners)}
        self.cells = {
            (condition, label): f"{anchor}-{place}"
            for place, condition in enumerate(frame.situations)
            for label, anchor in self.learners.items()
            if (condition, label) in frame.cells
        }

    def link(self, text: str, label: str, condition: Condition | None) -> str:
        """Return a text that leads to a learner's runs under a condition, or to all of them."""
        if condition is None:
            return f"[{text}](#{self.learners[label]})"
        anchor = self.cells.get((condition, label))
        return f"[{text}](#{anchor})" if anchor and text else text


def unlinked(text: str, label: str, condition: Condition | None) -> str:
    """Return the text as it is, for files beside the report, in which nothing is listed."""
    del label, condition
    return text
