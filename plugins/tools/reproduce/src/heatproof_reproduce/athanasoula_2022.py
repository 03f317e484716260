"""Table 2 of Athanasoula et al. 2022 with its contradictions, and Grad-CAM of each class."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from heatproof_classification.published import contradictions

from .maps import Maps, maps_of, show_heat, show_image
from .published import Published, published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .reproduction import Reproduction

STEPS: Mapping[str, str] = {
    "PET/CT": "petct", "LIDC-IDRI": "lidc", "COV_X": "covid-x", "COV_CT": "covid-ct", "Cells": "cells",
    "MPIP": "polar-map", "MNIST": "skin",
}  # fmt: skip
"""Data set as the paper calls it → the step that trains on it."""
CASES: Mapping[str, tuple[int, int]] = {
    "PET/CT": (111, 61), "LIDC-IDRI": (616, 620), "COV_CT": (349, 397), "MPIP": (136, 80),
}  # fmt: skip
"""The published numbers of positive and negative images, where there are two classes."""
WIDTH = 150
"""The most letters of a line below the table."""
QUANTITIES = ("accuracy", "sensitivity", "specificity", "AUC", "F1")


def table_2(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw table 2: published beside own numbers, blank where the paper's is, and contradictions in published rows."""
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    numbers = published(reproduction.source, tuple(step.name for step in reproduction.paper.steps))
    rows = [_row(reproduction, name, numbers) for name in STEPS]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    head = ["data set", "images, published\nand own", *QUANTITIES]
    cells = [[row["data set"], f"{row['n published']:,}\n{row['n']}", *(_cell(row, name) for name in QUANTITIES)]
             for row in rows]  # fmt: skip
    drawn = axes.table(cells, colLabels=head, loc="upper center", cellLoc="left", bbox=Bbox.from_bounds(0, 0.3, 1, 0.7))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    notes = [f"{row['data set']}: {row['contradictions']}" for row in rows if row["contradictions"]]
    text = "\n".join(fill(note, WIDTH) for note in ["Published rows that contradict themselves:", *notes])
    axes.text(0, 0.26, text, transform=axes.transAxes, va="top", fontsize=8)
    source = "synthetic twins" if reproduction.synthetic else "pooled over folds"
    axes.set_title(f"Table 2: published above, own below with 95 % interval ({source}); blank where the paper is blank")
    return figure, rows


def _row(reproduction: "Reproduction", name: str, numbers: Sequence[Published]) -> dict[str, Any]:
    """The numbers of a data set: published, own with interval, and the contradictions among the published ones."""
    theirs = {entry.quantity.partition(", ")[2]: entry for entry in numbers if entry.quantity.startswith(f"{name}, ")}
    own = _pooled(reproduction.folder(STEPS[name]) / "measures.csv")
    row: dict[str, Any] = {"data set": name, "n published": theirs["accuracy"].n, "n": own["accuracy"]["n_valid"]}
    for quantity in QUANTITIES:
        known = quantity in theirs
        row[f"{quantity} published"] = theirs[quantity].number if known else None
        for column in ("value", "low", "high"):
            row[f"{quantity} {column}"] = own[quantity.lower()][column] if known else None
    row["contradictions"] = "; ".join(flags(name, {key: float(entry.value) for key, entry in theirs.items()}))
    return row


def flags(name: str, shares: Mapping[str, float]) -> list[str]:
    """List the contradictions among the published shares of a data set; none where there are more than two classes."""
    if name not in CASES:
        return []
    positives, negatives = CASES[name]
    rates = (shares["accuracy"], shares["sensitivity"], shares["specificity"])
    return contradictions(*rates, positives, negatives, shares["F1"])


def _pooled(path: Path) -> dict[str, dict[str, str]]:
    """The rows of all folds together by measure."""
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["measure"]: row for row in csv.DictReader(stream) if row["part"] == "pooled"}


def _cell(row: Mapping[str, Any], quantity: str) -> str:
    """A cell of the table; empty where the paper has no number."""
    theirs = row[f"{quantity} published"]
    if theirs is None:
        return ""
    value, low, high = (row[f"{quantity} {column}"] for column in ("value", "low", "high"))
    own = f"{float(value):.3f}" if value else "undefined"
    interval = f" ({float(low):.3f}–{float(high):.3f})" if low and high else ""
    return f"{theirs:.4f}\n{own}{interval}"


def panels(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw an image and its Grad-CAM for each class of each data set, of the test part of the first fold."""
    from matplotlib.figure import Figure

    results = reproduction.results("maps")
    chosen = {name: list(_examples(reproduction, name, maps_of(results, name, "gradcam"))) for name in STEPS}
    columns = 2 * max(map(len, chosen.values()))
    figure = Figure(figsize=(1.15 * columns, 1.45 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    rows = []
    for line, (name, examples) in zip(grid, chosen.items()):
        for index, (maps, row) in enumerate(examples):
            image = maps.sample(row["case"]).image
            show_image(line[2 * index], image)
            heat = maps.heatmap(row["case"])
            show_heat(line[2 * index + 1], heat, image)
            line[2 * index].set_title(f"{name}\n{row['class']}", fontsize=6.5)
            remark = "" if heat.any() else " (no heat)"
            line[2 * index + 1].set_title(f"decided\n{row['decision']}{remark}", fontsize=6.5)
            rows.append(row | {"largest heat": float(heat.max())})
    figure.suptitle("Grad-CAM of the decided class" + (" (synthetic twins)" if reproduction.synthetic else ""))
    return figure, rows


def _examples(reproduction: "Reproduction", name: str, maps: Maps) -> Iterator[tuple[Maps, dict[str, Any]]]:
    """Yield the maps and the image of each class that the network of the first fold gives the highest probability."""
    with open(reproduction.folder(STEPS[name]) / "predictions.csv", newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if (row["fold"], row["part"]) == ("1", "test")]
    shown = [row for row in rows if row["sample"] in maps.rows]
    for label in dict.fromkeys(sorted(row["label"] for row in shown)):
        best = max((row for row in shown if row["label"] == label), key=lambda row: float(row[f"p {row['label']}"]))
        yield maps, {
            "data set": name, "class": label, "decision": best["decision"], "case": best["sample"],
            "probability of the class": float(best[f"p {label}"]), "n": len(shown),
        }  # fmt: skip
