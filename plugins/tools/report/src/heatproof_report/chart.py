"""The chart of a ranking: one dot and interval per combination, the random baseline as a dashed line."""

import io
from typing import TYPE_CHECKING, Any

from heatproof.results.ranking import RankedCombination

from .board import Board

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "heatproof",
    "text.parse_math": False,
    "font.family": "sans-serif",
}
INK, ACCENT, MUTED = "#010101", "#020202", "#030303"
THEME = {INK: "currentColor", ACCENT: "var(--accent)", MUTED: "var(--muted)"}
"""Colours that the page replaces, so that a chart follows its light or dark theme."""
WIDTH, HEADROOM, ROW = 7.6, 0.75, 0.29
"""Inches: the width of a chart, its height without rows, and the height of a row."""
LONGEST = 46
"""Longer names lose their middle in the chart; the table beside it has them whole."""


def chart(ranking: Board, prefix: str) -> str:
    """The chart as inline SVG, whose ids begin with ``prefix``."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    text = io.StringIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEADROOM + ROW * len(ranking.entries)), layout="constrained")
        _draw(figure.subplots(), ranking)
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return _inlined(text.getvalue(), prefix)


def _draw(axes: "Axes", ranking: Board) -> None:
    for entry in ranking.baselines:
        axes.axvline(entry.value, color=MUTED, linestyle=(0, (5, 3)), linewidth=1.2)
    for row, entry in enumerate(ranking.entries):
        colour = MUTED if entry.baseline else ACCENT
        axes.plot([entry.row["low"], entry.row["high"]], [row, row], color=colour, linewidth=2.2)
        axes.plot([entry.value], [row], "D" if entry.baseline else "o", color=colour, markersize=6.5)
    axes.set_yticks(range(len(ranking.entries)), [_label(entry) for entry in ranking.entries])
    axes.set_ylim(len(ranking.entries) - 0.4, -0.6)
    axes.set_xlabel(f"{ranking.metric}: {ranking.measures[0]}")
    _plain(axes)


def _label(entry: RankedCombination) -> str:
    if len(entry.name) <= LONGEST:
        return entry.name
    return f"{entry.name[: LONGEST // 2]}…{entry.name[-LONGEST // 2 + 1 :]}"


def _plain(axes: "Axes") -> None:
    """Only what carries information: labels, a value axis and faint lines at its ticks."""
    axes.tick_params(axis="both", colors=INK, length=0, labelsize=10)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _inlined(text: str, prefix: str) -> str:
    """The svg element alone, with ids that are unique on the page and the page's colours."""
    changes = {'id="': f'id="{prefix}-', 'href="#': f'href="#{prefix}-', "url(#": f"url(#{prefix}-"}
    svg = text[text.index("<svg") :]
    for old, new in (changes | THEME).items():
        svg = svg.replace(old, new)
    return svg
