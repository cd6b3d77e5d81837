"""How to make the report again, and where its numbers are."""

from plots.data.frame import Frame
from plots.sections import Section

PLACE = 13


def section(frame: Frame) -> Section:
    """Return the commands, the same for every experiment but for its name."""
    name = frame.experiment
    lines = [
        f"- `python -m bench experiment={name}` trains what is not stored.",
        f"- `python -m plots {name}` makes this page, its figures and tables from the store; "
        f"`python -m plots {name} --reference` from what is committed, if it is.",
        f"- `python -m plots {name} --width column` writes the figures for print, as PDF too.",
        f"- `python -m plots {name} --power` says how many seeds a difference needs.",
        f"- `python -m plots {name} --export FILE.csv` writes every number of every record.",
        "- Each run is a line of [runs.csv](runs.csv); its `run_id` is its file's name under "
        f"`results/runs/{name}/`.",
    ]
    return Section("How to reproduce", text="\n".join(lines))
