"""The figure of González-Gonzalo et al. 2018: how many lesions the map and the refined map find, per grade."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from heatproof.results.finished import read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .reproduction import Reproduction

GRADES: Mapping[str, str] = {"moderate": "grade 2", "severe": "grade 3"}
"""The grades of the paper's figure by the class's name."""
MAPS: Mapping[str, str] = {"s0": "#8a5a00", "S": "#14568c"}
"""The maps that are compared, with their colours: without refinement, and refined."""
STEP = "localisation"
RATE = "at_"


def figure_2(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw FROC curves of s0 and S for grades 2 and 3; the rows are the sensitivities at each rate, with intervals."""
    from matplotlib.figure import Figure

    rows = list(sensitivities(read_rows(reproduction.folder(STEP) / "subgroups.csv")))
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    for axes, grade in zip(figure.subplots(1, 2, sharey=True), GRADES.values()):
        _draw(axes, grade, [row for row in rows if row["grade"] == grade])
    if reproduction.synthetic:
        figure.suptitle("synthetic twin")
    return figure, rows


def sensitivities(subgroups: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the sensitivity at each number of false positives per image, by grade and map, from the subgroups' rows."""
    curves = [row for row in subgroups if row["metric"] == "froc" and row["measure"].startswith(RATE)]
    for grade, map_name in product(GRADES, MAPS):
        for row in curves:
            if (row["by"], row["group"], row["explainer"]) == ("label", grade, map_name):
                yield {
                    "grade": GRADES[grade],
                    "map": map_name,
                    "false positives per image": float(row["measure"].removeprefix(RATE)),
                    **{column: row[column] for column in ("value", "low", "high")},
                    "n": row["n_valid"],
                }


def _draw(axes: "Axes", grade: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the curves of a grade, with a band for the interval."""
    counts = sorted({row["n"] for row in rows})
    axes.set_title(f"{grade}, {' or '.join(map(str, counts)) or 'no'} photographs")
    for name, colour in MAPS.items():
        curve = [row for row in rows if row["map"] == name]
        rates, values, low, high = (
            [row[column] for row in curve] for column in ("false positives per image", "value", "low", "high")
        )
        axes.plot(rates, values, "o-", color=colour, markersize=4, label=name)
        axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", xlabel="false positives per image", ylabel="sensitivity", ylim=(0, None))
    rates = sorted({row["false positives per image"] for row in rows})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.legend(frameon=False)
