"""The heat map of regret over two settings of a learner."""

import numpy as np
from matplotlib.figure import Figure

from plots.sections.sensitivity import HeatMap
from plots.style import TEXT_WIDTH

PANELS_PER_ROW = 3
# More cells beside each other leave no room for their numbers.
CELLS_PER_ROW = 18


def draw_heat_map(heat_map: HeatMap) -> Figure:
    """Return the figure, one panel per environment on one scale of colours."""
    names = list(heat_map.means)
    down, across = heat_map.values
    columns = max(1, min(len(names), PANELS_PER_ROW, CELLS_PER_ROW // len(across)))
    rows = -(-len(names) // columns)
    height = 0.5 + rows * (0.45 + 0.2 * len(down))
    figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for axes, name in zip(grid.ravel(), names, strict=False):
        means = heat_map.means[name]
        image = axes.imshow(means, vmin=0, vmax=1.2, cmap="viridis_r", aspect="auto")
        for (row, column), mean in np.ndenumerate(means):
            if np.isfinite(mean):
                text = f"{mean:.2f}"
                shade = "white" if mean > 0.6 else "black"
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=5.5)
        axes.set_title(name)
        axes.set_xticks(range(len(across)), across, rotation=30, ha="right")
        axes.set_yticks(range(len(down)), down)
    for axes in grid.ravel()[len(names) :]:
        axes.set_axis_off()
    figure.supylabel(heat_map.settings[0], fontsize=7)
    figure.supxlabel(heat_map.settings[1], fontsize=7)
    if image is not None:
        figure.colorbar(image, ax=grid, label="normalized regret", shrink=0.8, extend="both")
    return figure


def heat_map_caption(heat_map: HeatMap) -> str:
    """Return what the figure shows, and how uncertain its numbers are."""
    counts = sorted(set(heat_map.num_runs.values()))
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    errors = np.concatenate([e[np.isfinite(e)] for e in heat_map.errors.values()])
    largest = f"{errors.max():.2f}" if errors.size else "unknown"
    return (
        f"Mean normalized regret of {heat_map.algorithm} (0 the optimum, 1 the uniform policy) by "
        f"{heat_map.settings[0]} and {heat_map.settings[1]}, over all data, degradations and "
        f"seeds of the experiment, the same {runs} runs in every cell; colours end at 0 and 1.2. "
        f"The largest standard error of a cell is {largest}."
    )
