"""The charts of this folder, from the rows of its tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from crossfit import FINDINGS, MODELS, SIZES, control_of
from matplotlib import rc_context
from matplotlib.figure import Figure

from heatproof.records import Array

METRICS = ("published weights", "weights of the masks")
"""The names of the two entries of ``metrics`` in ``grid.yaml``."""
MODEL_FREE = ("random", "centre", "input_edges")
"""The maps that know no network."""
COLOURS = ("#14568c", "#c2571a", "#2f7d4f", "#7b4ea3")
GREY = "#c9ced6"
INK = "#17202a"
MUTED = "#59626d"
LINES = ((0, (5, 3)), "dotted", "dashdot")
Row = dict[str, Any]


def draw_methods(rows: Sequence[Row], metric: str, path: Path) -> None:
    """Draw the score of each method on every network and its control, in the arrangement of the paper's figure 3."""
    figure = Figure(figsize=(11, 12), layout="constrained")
    panels = figure.subplots(len(MODELS), 1, sharex=True, sharey=True)
    shown = [row for row in rows if row["measure"] == "combined" and row["weights"] == metric]
    names = dict.fromkeys(row["method"] for row in shown if row["method"] not in MODEL_FREE)
    order = {method: np.mean([row["value"] for row in shown if row["method"] == method]) for method in names}
    methods = sorted(order, key=lambda method: -order[method])
    for axes, (key, model), colour in zip(panels, MODELS.items(), COLOURS):
        control = control_of(key)
        for shift, name, style in (
            (-0.2, model["name"], {"color": colour}),
            (0.2, control, {"color": "white", "edgecolor": colour, "hatch": "///"}),
        ):
            members = [_row(shown, name, method) for method in methods]
            label = f"{name} (n = {members[0]['n_valid']})"
            bars(axes, np.arange(len(methods)) + shift, members, 0.38, label=label, **style)
        for method, line in zip(MODEL_FREE, LINES):
            value = _row(shown, f"none, {SIZES[key]} pixels", method)["value"]
            axes.axhline(value, color=MUTED, linestyle=line, linewidth=1.2, label=method)
        axes.legend(fontsize=8, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
        axes.set_ylabel("ECS")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xticks(range(len(methods)), methods, rotation=30, ha="right")
    figure.suptitle(f"ECS on photographs of IDRiD, {metric}; 95 % intervals over photographs", fontsize=11)
    save(figure, path)


def draw_candidates(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw the score of every candidate on each network, with its interval, and on its control."""
    figure = Figure(figsize=(11, 12), layout="constrained")
    for axes, (key, model), colour in zip(figure.subplots(len(MODELS), 1, sharey=True), MODELS.items(), COLOURS):
        shown = [row for row in rows if row["weights"] == METRICS[0]]
        names = list(dict.fromkeys(row["candidate"] for row in shown if row["network"] == model["name"]))
        for name, style in ((model["name"], "-"), (control_of(key), ":")):
            members = {row["candidate"]: row for row in shown if row["network"] == name}
            positions = [index for index, candidate in enumerate(names) if candidate in members]
            values = np.array([[members[names[index]][end] for end in ("value", "low", "high")] for index in positions])
            axes.plot(positions, values[:, 0], style, color=colour, marker=".", label=name)
            if style == "-":
                axes.fill_between(positions, values[:, 1], values[:, 2], color=colour, alpha=0.15, linewidth=0)
        step = 1 + len(names) // 30
        axes.set_xticks(range(0, len(names), step), names[::step], rotation=35, ha="right", fontsize=6)
        axes.set_ylabel("ECS")
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def draw_ranks(ranked: Sequence[Row], path: Path) -> None:
    """Draw lines from the rank by the published weights to that by the weights of the masks."""
    figure = Figure(figsize=(8, 10), layout="constrained")
    axes = figure.subplots()
    colours = {model["name"]: code for model, code in zip(MODELS.values(), COLOURS)}
    for row in ranked:
        ends = (row["rank_published"], row["rank_masks"])
        colour = colours[row["network"]]
        axes.plot((0, 1), ends, color=colour, marker="o", markersize=3, linewidth=1.2)
        for x, end, side in ((-0.03, ends[0], "right"), (1.03, ends[1], "left")):
            axes.text(x, end, f"{row['network']} × {row['method']}", ha=side, va="center", fontsize=7, color=colour)
    axes.set_xlim(-0.8, 1.8)
    axes.invert_yaxis()
    axes.set_xticks((0, 1), METRICS)
    axes.set_ylabel("rank by ECS")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    save(figure, path)


def draw_lesions(rows: Sequence[Row], path: Path) -> None:
    """Draw, for each lesion and network: a random map, the best method overall, and the best for the lesion."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    panels = figure.subplots(1, len(MODELS), sharey=True)
    shown = [row for row in rows if row["weights"] == METRICS[0]]
    for axes, (key, model), colour in zip(panels, MODELS.items(), COLOURS):
        members = [row for row in shown if row["network"] == model["name"]]
        leader = max((row for row in members if row["measure"] == "combined"), key=_value)["method"]
        for index, finding in enumerate(FINDINGS):
            of_finding = [row for row in shown if row["measure"] == finding]
            best = max((row for row in members if row["measure"] == finding), key=_value)
            chance = _row(of_finding, f"none, {SIZES[key]} pixels", "random")
            overall = _row(of_finding, model["name"], leader)
            for shift, row, style in (
                (-0.27, chance, {"color": GREY}),
                (0.0, overall, {"color": colour}),
                (0.27, best, {"color": "white", "edgecolor": colour, "hatch": "///"}),
            ):
                bars(axes, np.array([index + shift]), [row], 0.25, **style)
            axes.text(index + 0.27, best["high"] + 0.02, best["method"], rotation=90, ha="center", fontsize=6)
        axes.set_title(f"{model['name']}: random, {leader}, best", fontsize=8)
        axes.set_xticks(range(len(FINDINGS)), [name.replace("_", "\n") for name in FINDINGS], fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("ECS of the lesion")
    save(figure, path)


def bars(axes: Any, positions: Array, rows: Sequence[Row], width: float, **style: Any) -> None:
    """Draw a bar with its interval for each row."""
    heights = [row["value"] for row in rows]
    spans = [[row["value"] - row["low"] for row in rows], [row["high"] - row["value"] for row in rows]]
    axes.bar(positions, heights, width, **style)
    axes.errorbar(positions, heights, yerr=spans, fmt="none", ecolor=INK, elinewidth=1, capsize=1.5)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same numbers give the same file."""
    with rc_context({"svg.hashsalt": path.name, "font.size": 9}):
        figure.savefig(path, metadata={"Date": None})


def _row(rows: Sequence[Row], network: str, method: str) -> Row:
    """The row of a network and a method."""
    return next(row for row in rows if (row["network"], row["method"]) == (network, method))


def _value(row: Row) -> float:
    return float(row["value"])
