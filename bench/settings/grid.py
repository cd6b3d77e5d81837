"""An experiment's grid, and what the words of a command make of it: no word is dropped."""

from collections.abc import Mapping
from typing import Any

# Values per setting, in order.
Axes = dict[str, list[Any]]

# What all choices of a group have, so that it holds for one that a grid does not know, too.
COMMON = ("coverage.severity",)


def narrowed(grid: list[Axes], words: Mapping[str, list[Any]]) -> list[Axes]:
    """Return the sub-grids that a command asks for.

    Of a setting that is named, each sub-grid keeps the values that are named; what no sub-grid has
    is added to all of them. ``algorithm=mine`` so gets everything that a grid says of data and
    seeds, and nothing of what it says of its own algorithms' settings.
    """
    for key, named in words.items():
        known = [v for v in named if any(v in sub.get(key, []) for sub in grid)]
        new = [v for v in named if v not in known]
        kept = [{**sub, key: [v for v in known if v in sub.get(key, [])]} for sub in grid]
        added = [{**_without_settings_of(key, sub), key: new} for sub in grid]
        grid = [sub for sub in kept if sub[key]] + [sub for sub in added if new and sub not in kept]
    return [sub for place, sub in enumerate(grid) if sub not in grid[:place]]


def _without_settings_of(group: str, sub_grid: Axes) -> Axes:
    """Return a sub-grid without what it says of its own choices of a group."""
    return {k: v for k, v in sub_grid.items() if not k.startswith(f"{group}.") or k in COMMON}
