"""How to read figures and tables: what the numbers mean and what must not be concluded."""

from plots.data.frame import Frame
from plots.look.captions import uninformative_rule
from plots.sections import Section

PLACE = 1.4


def section(frame: Frame) -> Section:
    """Return the section, the same for every experiment."""
    lines = [
        "- `normalized regret` is what a policy loses to the optimum, in units of what the "
        "uniformly random policy loses: 0 is the optimum, 1 the uniform policy, above 1 is "
        "worse than acting at random.",
        "- `regret to the best covered policy` compares with the best that the data can vouch "
        "for: the optimum of the environment if every pair without data were worth the "
        "lowest value. What is left of the regret there is the method's own; below 0 it was "
        "lucky off the data, and is shown as it is.",
        "- A curve that stays flat as severity grows does not need what was taken away; where "
        "curves part, methods differ in what they do off the data.",
        "- Figures by severity say how much was taken away; figures by measured coverage say "
        "how much of a good policy the data still supports. The same severity costs different "
        "degradations different amounts of coverage: where points crowd on the left of a "
        "panel, it cost little.",
        f"- Hatched conditions and rows with † are not evidence: {uninformative_rule()}.",
        "- Intervals over few runs are rough. Two curves whose bands overlap are not thereby "
        "equal.",
    ]
    return Section("How to read it", text="\n".join(lines))
