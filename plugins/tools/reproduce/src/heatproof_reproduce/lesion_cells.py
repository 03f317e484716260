"""Best and worst images of a combination: the heatmap, the cells with most lesion mass, and the hottest ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.records import Array
from heatproof.results.case_samples import prediction_units, prepared_sample
from heatproof.results.finished import Results
from heatproof_lesions.agreement import chosen
from heatproof_lesions.readings import readings

from .drawing import MUTED, new_figure, titled
from .reproduction import Reproduction
from .van_craenendonck_2020 import GRID, best, combinations, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 10
"""Cells per side (S)."""
TOP = 15
"""Cells that count (K)."""
SHOWN = 2
"""How many best and worst images are shown."""
ASKED = "#1b9e77"
FOUND = "#d95f02"


@dataclass(frozen=True)
class Shown:
    """One image (h, w, 3) with its heatmap (h, w), and both kinds of cells (S, S) as probabilities to be chosen."""

    case: str
    value: float
    image: Array
    heatmap: Array
    asked: Array
    found: Array


def figure_4(reproduction: Reproduction) -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw the two best and the two worst tuning images of the best combination with their cells."""
    results = reproduction.results(GRID)
    leader = best(combinations(reproduction, "tuning"))
    rows = _extremes(results, leader)
    figure = new_figure(9, 2.7 * len(rows) + 0.6)
    titled(figure, reproduction, f"Best and worst images of {name_of(leader)}", GRID)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    table = []
    for axes, (which, row) in zip(panels, rows):
        shown = _shown(results, leader, row)
        _draw(axes, shown, which)
        table += [
            {"which": which, "case": shown.case, "ecs": shown.value, "row": i, "column": j,
             "asked_for": shown.asked[i, j], "found": shown.found[i, j]}
            for i in range(SIDE) for j in range(SIDE) if shown.asked[i, j] or shown.found[i, j]
        ]  # fmt: skip
    return figure, table


def _extremes(results: Results, leader: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The best and the worst cases of a combination; of few cases, none twice."""
    rows = results.query(
        'select "case", value, heatmap, row from scores where combination = ? and split = ? and metric = ? and '
        "measure = 'combined' and status = 'valid' order by value desc, \"case\"",
        leader["combination"], leader["split"], leader["metric"],
    )  # fmt: skip
    worst = rows[max(SHOWN, len(rows) - SHOWN) :]
    return [*(("best", row) for row in rows[:SHOWN]), *(("worst", row) for row in worst)]


def _shown(results: Results, leader: Mapping[str, Any], row: Mapping[str, Any]) -> Shown:
    """Read a case as the network saw it, and compute its cells."""
    described = results.described[leader["combination"], leader["metric"]]
    key = PurePosixPath(row["heatmap"]).parts[1]
    units = prediction_units(results, described["settings"], [key])
    prepared = prepared_sample(results, units, row["case"])
    heatmap = results.run.maps(key, int(row["row"]))
    metric = results.component("metric", described["metric_settings"])
    heat, masses = metric.cells(heatmap, readings(prepared.sample)[0], SIDE)
    lesions = masses["combined"]
    asked = chosen(lesions, min(TOP, int(np.count_nonzero(lesions)))).reshape(SIDE, SIDE)
    found = chosen(heat, TOP).reshape(SIDE, SIDE)
    image = prepared.original
    if image is None:
        image = np.zeros((*heatmap.shape, 3), np.uint8)
    return Shown(row["case"], row["value"], image, heatmap, asked, found)


def _draw(axes: "Sequence[Axes]", shown: Shown, which: str) -> None:
    """Draw the image, the heatmap over it, and both kinds of cells."""
    height, width = shown.heatmap.shape
    extent = (0, width, height, 0)
    grey = shown.image.mean(axis=-1)
    for plot in axes:
        plot.set_xticks([])
        plot.set_yticks([])
    axes[0].imshow(shown.image, extent=extent)
    axes[0].set_ylabel(f"{which}: ECS {shown.value:.2f}\n{shown.case}")
    axes[1].imshow(grey, cmap="gray", extent=extent)
    drawn = axes[1].imshow(shown.heatmap, cmap="inferno", alpha=0.6, extent=extent)
    axes[1].figure.colorbar(drawn, ax=axes[1], fraction=0.046, pad=0.02)
    axes[2].imshow(grey, cmap="gray", extent=extent, alpha=0.6)
    _draw_cells(axes[2], shown, width / SIDE, height / SIDE)
    axes[0].set_title("image", fontsize=8)
    axes[1].set_title("heatmap", fontsize=8)
    axes[2].set_title("outlined: most lesion mass; filled: hottest", fontsize=8)


def _draw_cells(axes: "Axes", shown: Shown, width: float, height: float) -> None:
    """Outline the cells that are asked for and fill those that were found; tied cells are as faint as unlikely."""
    from matplotlib.patches import Rectangle

    for line in range(1, SIDE):
        axes.axhline(line * height, color=MUTED, linewidth=0.4)
        axes.axvline(line * width, color=MUTED, linewidth=0.4)
    inset = 0.08 * width
    for i in range(SIDE):
        for j in range(SIDE):
            x = j * width
            y = i * height
            found = 0.55 * shown.found[i, j]
            if found:
                axes.add_patch(Rectangle((x, y), width, height, color=FOUND, alpha=found, linewidth=0))
            asked = float(shown.asked[i, j])
            if asked:
                inner = Rectangle((x + inset, y + inset), width - 2 * inset, height - 2 * inset)
                inner.set(fill=False, edgecolor=ASKED, linewidth=1.6, alpha=asked)
                axes.add_patch(inner)
