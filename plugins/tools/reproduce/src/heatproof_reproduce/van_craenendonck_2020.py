"""The figures of Van Craenendonck et al. 2020, in the paper's arrangement."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heatproof.errors import HeatproofError

from .drawing import COLOURS, MUTED, bars, chance, new_figure, plain, titled
from .reproduction import Reproduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETWORKS = ("VGG16", "ResNet50", "InceptionV3")
METHODS = (
    "Saliency", "Input × gradient", "Integrated gradients", "Guided BP", "DeconvNet", "SmoothGrad",
    "SmoothGrad-Squared", "VarGrad", "LRP", "Grad-CAM",
)  # fmt: skip
LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
GRID = "grid"
"""The step with all combinations."""
COMBINED = "combined"
KEPT = ("value", "low", "high", "n_valid", "n_failed")
Row = Mapping[str, Any]
Table = list[dict[str, Any]]


def method_of(row: Row) -> str:
    """The method of a row without its selected setting: ``LRP(preset=z)`` is LRP."""
    return str(row["explainer"]).partition("(")[0]


def combinations(reproduction: Reproduction, split: str, measure: str = COMBINED) -> list[Row]:
    """The rows of all combinations on a split, the random baseline among them."""
    summary = reproduction.results(GRID).summary
    return [row for row in summary if (row["split"], row["measure"]) == (split, measure)]


def random_row(rows: Sequence[Row]) -> Row | None:
    """The row of the random baseline; None where it is missing."""
    return next((row for row in rows if row["baseline"]), None)


def best(rows: Sequence[Row]) -> Row:
    """The combination with the largest value; raises ``HeatproofError`` where none has a value."""
    valued = [row for row in rows if not row["baseline"] and row["value"] == row["value"]]
    if not valued:
        raise HeatproofError("no combination of the grid has a value; its report.html says why.")
    return max(valued, key=lambda row: row["value"])


def name_of(row: Row) -> str:
    """Network and method of a row."""
    return " × ".join(filter(None, (row["model"], row["explainer"])))


def entry(row: Row, **names: Any) -> dict[str, Any]:
    """The row of a figure's table: names, value, interval and counts."""
    return {**names, **{name: row[name] for name in KEPT}}


def figure_3(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw the score of every method and network, and that of Grad-CAM at every layer, on the tuning images."""
    rows = combinations(reproduction, "tuning")
    figure = new_figure(10, 7)
    titled(figure, reproduction, "Agreement with lesions by method and network, and of Grad-CAM by layer", GRID)
    panels = figure.subplot_mosaic([["bars"] * 3, ["0", "1", "2"]], height_ratios=[1.5, 1])
    _draw_methods(panels["bars"], rows)
    table = [entry(row, panel="methods", model=row["model"], explainer=row["explainer"]) for row in rows]
    curves = selections(reproduction, "Grad-CAM")
    for index, network in enumerate(NETWORKS):
        axes = panels[str(index)]
        curve = curves.get(network, [])
        _draw_curve(axes, curve, network, index)
        chance(axes, random_row(rows))
        table += [entry(row, panel="layers", model=network, explainer=f"Grad-CAM({row['label']})") for row in curve]
    return figure, table


def _draw_methods(axes: "Axes", rows: Sequence[Row]) -> None:
    """Draw a group of bars per method, a bar per network, and the random baseline."""
    width = 0.26
    for index, network in enumerate(NETWORKS):
        own = {method_of(row): row for row in rows if row["model"] == network}
        shown = [(place, own[name]) for place, name in enumerate(METHODS) if name in own]
        positions = [place + (index - 1) * width for place, _ in shown]
        bars(axes, positions, [row for _, row in shown], width, color=COLOURS[index], label=network)
    baseline = random_row(rows)
    if baseline is not None:
        bars(axes, [len(METHODS)], [baseline], width, color=MUTED)
    chance(axes, baseline)
    axes.set_xticks(range(len(METHODS) + 1), [*METHODS, "Random"], rotation=25, ha="right")
    axes.set_ylabel("ECS")
    axes.legend(ncols=4, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.14))
    plain(axes)


def selections(reproduction: Reproduction, method: str) -> dict[str, list[dict[str, Any]]]:
    """Network → the candidates of a method with value, interval and counts, in order; ``chosen`` marks the selected."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for frozen in reproduction.results(GRID).selection.values():
        if frozen.get("name") == method:
            curves[frozen["where"].partition(" × ")[0]] = [
                {**_numbers(candidate), "label": _label(candidate), "chosen": number == frozen["number"]}
                for number, candidate in enumerate(frozen["candidates"])
            ]
    return curves


def _label(candidate: Row) -> str:
    return ", ".join(str(value) for value in candidate["settings"].values())


def _numbers(candidate: Row) -> dict[str, Any]:
    """The numbers of a candidate, missing ones NaN."""
    return {name: float("nan") if candidate[name] is None else candidate[name] for name in KEPT}


def _draw_curve(axes: "Axes", curve: Sequence[Row], network: str, index: int) -> None:
    """Draw the score by layer with its interval, and mark the selected layer."""
    places = range(1, len(curve) + 1)
    axes.fill_between(
        places, [row["low"] for row in curve], [row["high"] for row in curve], color=COLOURS[index], alpha=0.2,
        linewidth=0,
    )  # fmt: skip
    axes.plot(places, [row["value"] for row in curve], color=COLOURS[index], linewidth=1.4)
    for place, row in zip(places, curve):
        if row["chosen"]:
            axes.plot([place], [row["value"]], "o", color=COLOURS[index], markersize=5)
            axes.set_title(f"{network}: Grad-CAM, best at\n{row['label']}", fontsize=8)
    axes.set_xlabel("layer, from the input")
    axes.set_ylabel("ECS")
    axes.set_ylim(bottom=0)
    plain(axes)


def presets(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw the score of every LRP preset that was compared, by network."""
    curves = selections(reproduction, "LRP")
    labels = list(dict.fromkeys(row["label"] for curve in curves.values() for row in curve))
    figure = new_figure(8, 1.6 + 0.36 * len(labels))
    titled(figure, reproduction, "LRP presets on the tuning images; the selected one of each network is filled", GRID)
    axes = figure.subplots()
    table: Table = []
    for index, network in enumerate(NETWORKS):
        curve = curves.get(network, [])
        for row in curve:
            place = labels.index(row["label"]) + (index - 1) * 0.2
            fill = COLOURS[index] if row["chosen"] else "white"
            axes.plot([row["low"], row["high"]], [place, place], color=COLOURS[index], linewidth=1.2)
            axes.plot([row["value"]], [place], "o", color=COLOURS[index], markerfacecolor=fill, markersize=5)
        axes.plot([], [], "o", color=COLOURS[index], label=network)
        table += [entry(row, model=network, preset=row["label"], selected=row["chosen"]) for row in curve]
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("ECS")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.7)
    return figure, table


def figure_5(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw for each lesion the random baseline, the combination that is best overall, and that best for the lesion."""
    overall = best(combinations(reproduction, "tuning"))
    figure = new_figure(8, 4.6)
    titled(figure, reproduction, f"Agreement by lesion; best overall: {name_of(overall)}", GRID)
    axes = figure.subplots()
    table: Table = []
    for place, lesion in enumerate(LESIONS):
        rows = combinations(reproduction, "tuning", lesion)
        same = [row for row in rows if row["combination"] == overall["combination"]]
        valued = [row for row in rows if row["value"] == row["value"]]
        leader = best(valued) if valued else None
        groups = [("random", random_row(rows)), ("best overall", next(iter(same), None)), ("best for lesion", leader)]
        for index, (which, row) in enumerate(groups):
            if row is None:
                continue
            colour = (MUTED, COLOURS[0], COLOURS[1])[index]
            bars(axes, [place + (index - 1) * 0.27], [row], 0.27, color=colour, label=which if not place else None)
            table.append(entry(row, lesion=lesion, which=which, model=row["model"], explainer=row["explainer"]))
    names = [f"{row['lesion'].replace('_', ' ')}\n{row['model']}\n{row['explainer']}" for row in table
             if row["which"] == "best for lesion"]  # fmt: skip
    axes.set_xticks(range(len(LESIONS)), names, fontsize=7)
    axes.set_ylabel("ECS")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    plain(axes)
    return figure, table


def tuning_and_test(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw every combination on the tuning and on the test images, both with the selection of the tuning images."""
    tuning = combinations(reproduction, "tuning")
    test = {row["combination"]: row for row in combinations(reproduction, "test")}
    ordered = sorted((row for row in tuning if row["value"] == row["value"]), key=lambda row: row["value"])
    figure = new_figure(8, 1.4 + 0.24 * len(ordered))
    titled(figure, reproduction, "Tuning against test images, with one selection that is frozen", GRID)
    axes = figure.subplots()
    table: Table = []
    for place, row in enumerate(ordered):
        pair = [(row, COLOURS[0], -0.13, "tuning"), (test.get(row["combination"]), COLOURS[1], 0.13, "test")]
        for own, colour, shift, split in pair:
            if own is not None:
                axes.plot([own["low"], own["high"]], [place + shift] * 2, color=colour, linewidth=1.2)
                axes.plot([own["value"]], [place + shift], "o", color=colour, markersize=4,
                          label=split if not place else None)  # fmt: skip
                table.append(entry(own, split=split, model=own["model"], explainer=own["explainer"]))
    axes.set_yticks(range(len(ordered)), [name_of(row) for row in ordered], fontsize=7)
    axes.set_ylim(-0.8, len(ordered) - 0.2)
    axes.set_xlabel("ECS")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.7)
    return figure, table


def sensitivity(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw how the score depends on the number of cells S × S and of hottest cells K, for the best of each network."""
    summary = [row for row in reproduction.results(GRID).summary if row["split"] == "tuning"]
    main = combinations(reproduction, "tuning")
    leaders = [best([row for row in main if row["model"] == network]) for network in NETWORKS]
    shown = [*leaders, *filter(None, [random_row(main)])]
    figure = new_figure(8, 3.8)
    titled(figure, reproduction, "Agreement by the number of cells S × S and of hottest cells K", GRID)
    panels = figure.subplots(1, 2, sharey=True)
    table = [
        entry(row, model=row["model"], explainer=row["explainer"], **_cells(row["measure"]))
        for row in summary
        if row["measure"].startswith(COMBINED)
    ]
    for axes, varied, fixed in ((panels[0], "K", "S"), (panels[1], "S", "K")):
        for index, leader in enumerate(shown):
            own = [row for row in table if (row["model"], row["explainer"]) == (leader["model"], leader["explainer"])
                   and row[fixed] == {"S": 10, "K": 15}[fixed]]  # fmt: skip
            own.sort(key=lambda row: row[varied])
            style = {"color": MUTED, "linestyle": "--"} if leader["baseline"] else {"color": COLOURS[index]}
            axes.plot([row[varied] for row in own], [row["value"] for row in own], marker="o", markersize=4,
                      label=name_of(leader), **style)  # fmt: skip
        axes.set_xlabel({"K": "hottest cells K (S = 10)", "S": "cells per side S (K = 15)"}[varied])
        plain(axes)
    panels[0].set_ylabel("ECS")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize=7)
    return figure, table


def _cells(measure: str) -> dict[str, int]:
    """The numbers of cells that a measure names; those of the paper where it names none.

    >>> _cells("combined"), _cells("combined S=8 K=10")
    ({'S': 10, 'K': 15}, {'S': 8, 'K': 10})
    """
    named = dict(part.split("=") for part in measure.split()[1:])
    return {name: int(named.get(name, usual)) for name, usual in (("S", 10), ("K", 15))}


def by_grade(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw the score of Grad-CAM on VGG16 by grade, with the number of images."""
    from heatproof.results.finished import read_rows

    rows = read_rows(reproduction.folder("by-grade") / "subgroups.csv")
    rows = [row for row in rows if row["measure"] == COMBINED]
    figure = new_figure(8, 3.6)
    titled(figure, reproduction, "Agreement by grade: VGG16 × Grad-CAM", "by-grade")
    axes = figure.subplots()
    graded = [row for row in rows if not row["baseline"]]
    bars(axes, range(len(graded)), graded, 0.6, color=COLOURS[0])
    axes.set_xticks(range(len(graded)), [f"{row['group']}\nn = {row['n_valid']}" for row in graded])
    axes.set_ylabel("ECS")
    plain(axes)
    return figure, [entry(row, grade=row["group"], explainer=row["explainer"]) for row in rows]


def leaders(reproduction: Reproduction) -> "tuple[Figure, Table]":
    """Draw the best and the worst of all combinations, and the best of each network and for each lesion."""
    rows = [row for row in combinations(reproduction, "tuning") if not row["baseline"]]
    valued = [row for row in rows if row["value"] == row["value"]]
    named = {"best of all": best(rows), "worst of all": min(valued, key=lambda row: row["value"])}
    named |= {f"best of {network}": best([row for row in rows if row["model"] == network]) for network in NETWORKS}
    for lesion in LESIONS:
        own = [row for row in combinations(reproduction, "tuning", lesion) if row["value"] == row["value"]]
        if own:
            named[f"best for {lesion}"] = best(own)
    figure = new_figure(8, 3.6)
    titled(figure, reproduction, "Best combinations on the tuning images", GRID)
    axes = figure.subplots()
    for place, row in enumerate(named.values()):
        axes.plot([row["low"], row["high"]], [place, place], color=COLOURS[0], linewidth=1.4)
        axes.plot([row["value"]], [place], "o", color=COLOURS[0], markersize=5)
    axes.set_yticks(range(len(named)), [f"{what}: {name_of(row)}" for what, row in named.items()], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("ECS")
    axes.spines[["top", "right"]].set_visible(False)
    table = [
        entry(row, what=what, combination=f"{row['model']} × {method_of(row)}", explainer=row["explainer"])
        for what, row in named.items()
    ]
    return figure, table
