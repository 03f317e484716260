"""Figures of a run for papers: the rankings, and all methods on selected cases."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from heatproof.errors import HeatproofError, near
from heatproof.results.finished import Results

from .board import Board, boards
from .cases import owner
from .collection import Collection, collections
from .layers import Layers, layers
from .overlay import PALETTE, traced
from .picks import picks, scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "heatproof", "pdf.fonttype": 42, "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 9,
}  # fmt: skip
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "dpi": 200, "pil_kwargs": {"compress_level": 2}},
}
"""The formats of files, with the options that give the same bytes again."""
ACCENT = "#14568c"
MUTED = "#59626d"
COLUMNS = 7
"""The largest number of panels side by side."""
PANEL = 1.9
"""The width of a panel in inches."""
TEXT = 0.46
"""The height of the text above and below a panel in inches."""
SPREAD = ("own", "common")
"""The colour scales: of each heatmap, or one for all heatmaps of a case."""


def ranking(results: Results, *, metric: str | None = None, dataset: str | None = None) -> "Figure":
    """Draw every ranking with intervals, the random baseline, and the letters of groups that do not differ.

    ``metric`` and ``dataset`` select rankings by name. Raises ``HeatproofError`` where there is none.
    """
    shown = [board for board in boards(results) if metric in (None, board.metric) and dataset in (None, board.dataset)]
    if not shown:
        names = {f"{board.metric} on {board.dataset}" for board in boards(results)}
        sought = f"{metric or 'any metric'} on {dataset or 'any dataset'}"
        raise HeatproofError(f"this run has no ranking by {sought}; {near(sought, names)}")
    return ranking_figure(shown)


def ranking_figure(shown: Sequence[Board]) -> "Figure":
    """Draw rankings one below the other."""
    from matplotlib.figure import Figure

    rows = [len(board.entries) for board in shown]
    with _style():
        figure = Figure(figsize=(7, sum(0.8 + 0.26 * count for count in rows)), layout="constrained")
        axes = figure.subplots(len(shown), squeeze=False, height_ratios=[count + 1 for count in rows])
        for board, plot in zip(shown, axes[:, 0]):
            _draw_ranking(plot, board)
        return figure


def _draw_ranking(axes: "Axes", board: Board) -> None:
    for entry in board.baselines:
        axes.axvline(entry.value, color=MUTED, linestyle=(0, (5, 3)), linewidth=1)
    letters = []
    for row, entry in enumerate(board.entries):
        colour, marker = (MUTED, "D") if entry.baseline else (ACCENT, "o")
        axes.plot([entry.row["low"], entry.row["high"]], [row, row], color=colour, linewidth=2)
        axes.plot([entry.value], [row], marker, color=colour, markersize=5.5)
        letters.append(board.groups.get(entry.row["combination"], ""))
    positions = range(len(board.entries))
    axes.set_yticks(positions, [entry.name for entry in board.entries])
    axes.set_ylim(len(board.entries) - 0.4, -0.6)
    axes.set_xlabel(f"{board.metric}: {board.measures[0]} ({board.dataset}, {board.split})")
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(positions, letters)
    beside.tick_params(length=0)
    beside.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def cases(
    results: Results,
    *,
    cases: Sequence[str] | None = None,
    explainers: Sequence[str] | None = None,
    model: str | None = None,
    scale: str = "own",
) -> "Figure":
    """Draw the heatmaps of all methods side by side: a row per case and model, after the image with its annotations.

    By default the cases are the best and the worst of the first combination, and the methods all but the random
    baseline. ``explainers`` are names of components or labels as in tables; ``scale`` is ``own`` or ``common``.
    Raises ``HeatproofError`` for unknown names, and what loading a case raises.
    """
    if scale not in SPREAD:
        raise HeatproofError(f"the colour scale is {scale!r}; {near(scale, SPREAD)}")
    collected = collections(results)
    if not collected:
        raise HeatproofError("this run has no heatmaps.")
    if model is not None:
        names = [collection.model for collection in collected]
        collected = [collected[index] for index, name in enumerate(names) if model in (name, _base(name))]
        if not collected:
            raise HeatproofError(f"no model of this run is named {model!r}; {near(model, names)}")
    names = selected(cases, [case for collection in collected for case in collection.cases], "case")
    rows = []
    for collection in collected:
        methods = selected(explainers, list(collection.methods), "explainer") or _compared(results, collection)
        rows += [
            layers(collection, case, methods, common=scale == "common")
            for case in (names or _typical(results, collection))
            if case in collection.patients
        ]
    return case_figure(rows, len(collected) > 1)


def selected(values: Sequence[str] | None, allowed: Sequence[str], kind: str) -> list[str]:
    """Return the names that ``values`` select, in order: each is a name, its base, or several with commas between.

    Raises ``HeatproofError`` for a name that is not among ``allowed``.
    """
    names: dict[str, None] = {}
    for value in values or ():
        parts = [value] if _matches(value, allowed) else [part.strip() for part in value.split(",")]
        for part in parts:
            matches = _matches(part, allowed)
            if not matches:
                raise HeatproofError(f"no {kind} of this run is named {part!r}; {near(part, set(allowed))}")
            names |= dict.fromkeys(matches)
    return list(names)


def _matches(name: str, allowed: Sequence[str]) -> list[str]:
    if name in allowed:
        return [name]
    return [label for label in allowed if name == _base(label)]


def _base(label: str) -> str:
    """The registered name in a label such as ``gradcam(layer=last)``."""
    return label.partition("(")[0].partition(" × ")[0]


def _compared(results: Results, collection: Collection) -> list[str]:
    """The methods of a collection without random baselines."""
    baselines = {row["combination"] for row in results.summary if row["baseline"]}
    return [name for name, keys in collection.methods.items() if not keys <= baselines]


def _typical(results: Results, collection: Collection) -> list[str]:
    """The best and the worst case of the first combination that a collection has heatmaps of."""
    for board in boards(results):
        for entry in board.compared:
            if entry.row["combination"] in set().union(*collection.methods.values()) and entry.value == entry.value:
                owner([collection], entry)
                groups = picks(scores(results, entry.row), board.measures[0], board.standard.higher_is_better, 1)
                return [*groups["Best"], *groups["Worst"]]
    return collection.cases[:1]


def case_figure(rows: Sequence[Layers], models: bool = False, side: int | None = None) -> "Figure":
    """Draw cases one below the other, with at most seven panels side by side; ``models`` adds the model's name.

    ``side`` limits the pixels of each panel, which otherwise has all of the model's grid.
    """
    from matplotlib.figure import Figure

    lines = [ceil((1 + len(row.heats)) / COLUMNS) for row in rows]
    columns = min(COLUMNS, max(1 + len(row.heats) for row in rows))
    height, width = rows[0].original.shape[:2]
    with _style():
        panel = PANEL * height / width
        figure = Figure(figsize=(PANEL * columns, (panel + TEXT) * sum(lines)))
        axes = iter(figure.subplots(sum(lines), columns, squeeze=False).ravel())
        # The layout engines of matplotlib take longer than all of the rest.
        inches = figure.get_figheight()
        top = 1 - 0.65 * TEXT / inches
        figure.subplots_adjust(0.005, 0.35 * TEXT / inches, 0.995, top, wspace=0.04, hspace=TEXT / panel)
        for row, count in zip(rows, lines):
            _draw_case(row, [next(axes) for _ in range(count * columns)], models, side)
        return figure


def _draw_case(row: Layers, axes: Sequence["Axes"], models: bool, side: int | None) -> None:
    from matplotlib.collections import LineCollection

    title = row.case
    if models:
        title += f"\n{row.collection.model}"
    panels = [(row.original, title, row.remark)]
    panels += [(heat.over(row.grey), heat.method, f"{heat.low:.3g} to {heat.high:.3g}") for heat in row.heats]
    outlines = {
        PALETTE[index % len(PALETTE)]: traced(mask) for index, mask in enumerate(row.masks.values()) if mask.any()
    }
    for plot in axes:
        plot.set_axis_off()
    for plot, (pixels, name, below) in zip(axes, panels):
        height, width = pixels.shape[:2]
        shown = Image.fromarray(pixels)
        shown.thumbnail((side or width, side or height), Image.Resampling.BOX)
        plot.imshow(np.asarray(shown), interpolation="none", extent=(0, width, height, 0))
        for colour, lines in outlines.items():
            plot.add_collection(LineCollection(lines, colors=colour, linewidths=0.7), autolim=False)
        plot.set_title(name, fontsize=8, wrap=True)
        plot.text(0.5, -0.02, below, transform=plot.transAxes, ha="center", va="top", fontsize=6.5, color=MUTED)


@contextmanager
def _style() -> "Iterator[None]":
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def save(figure: "Figure", *paths: Path) -> None:
    """Write a figure to files, in the format of their suffix; the same figure gives the same bytes."""
    with _style():
        if figure.get_layout_engine() is not None:
            # Once for all formats.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        for path in paths:
            figure.savefig(path, format=path.suffix[1:].lower(), **FORMATS[path.suffix[1:].lower()])


def save_all(figure: "Figure", folder: Path, name: str) -> None:
    """Write a figure to a folder in all formats."""
    save(figure, *(folder / f"{name}.{suffix}" for suffix in FORMATS))
