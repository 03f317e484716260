"""The heatmaps of the techniques that Huff et al. 2021 review, on one synthetic image."""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Any

from .maps import Maps, maps_of, show_heat, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .reproduction import Reproduction

STEPS = ("explainers", "attention", "anomaly")
METRIC = "relevance_mass"
MEASURE = "combined"
COLUMNS = 4


def techniques(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw the heatmap of every technique over the first image; the rows are the mean relevance mass of lesions."""
    from matplotlib.figure import Figure

    drawn = list(_techniques(reproduction))
    lines = ceil(len(drawn) / COLUMNS)
    figure = Figure(figsize=(7.5, 2.1 * lines), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (maps, row) in zip(grid, drawn):
        case = min(maps.rows, default=None)
        if case is None:
            axes.set_title(f"{row['technique']}\nno heatmap", fontsize=7)
            continue
        sample = maps.sample(case)
        heat = maps.heatmap(case)
        show_image(axes, sample.image)
        show_heat(axes, heat, sample.image)
        remark = "" if heat.any() else ", no heat"
        axes.set_title(f"{row['technique']}\n{row['model']}{remark}", fontsize=7)
    figure.suptitle("One synthetic image" if reproduction.synthetic else "One image")
    return figure, [row for _, row in drawn]


def _techniques(reproduction: "Reproduction") -> Iterator[tuple[Maps, dict[str, Any]]]:
    """Yield the heatmaps and the row of every model and explainer."""
    for step in STEPS:
        results = reproduction.results(step)
        for row in results.summary:
            if (row["metric"], row["measure"]) == (METRIC, MEASURE) and not row["baseline"]:
                cells = {name: row[name] for name in ("value", "low", "high", "n_valid", "verdict")}
                named = {"technique": row["explainer"], "model": row["model"], "step": step, "measure": METRIC}
                yield maps_of(results, row["model"], row["explainer"]), named | cells
