"""Draws the chart of a ranking: one dot and interval per combination, the random baseline as a dashed line."""

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
INK = "#010101"
ACCENT = "#020202"
MUTED = "#030303"
THEME = {INK: "currentColor", ACCENT: "var(--accent)", MUTED: "var(--muted)"}
"""The colours of the page's light and dark theme that replace the colours of the chart."""
WIDTH = 7.6
"""Width of a chart in inches."""
HEADROOM = 0.75
"""Height of a chart without its rows, in inches."""
ROW = 0.29
"""Height of a row in inches."""
LONGEST = 46
"""Characters: longer names are shortened in the middle; the table below the chart has the whole names."""


def chart(ranking: Board, prefix: str) -> str:
    """Draw the chart as inline SVG; all its ids begin with ``prefix``."""
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
        colour, marker = (MUTED, "D") if entry.baseline else (ACCENT, "o")
        axes.plot([entry.row["low"], entry.row["high"]], [row, row], color=colour, linewidth=2.2)
        axes.plot([entry.value], [row], marker, color=colour, markersize=6.5)
    axes.set_yticks(range(len(ranking.entries)), [_label(entry) for entry in ranking.entries])
    axes.set_ylim(len(ranking.entries) - 0.4, -0.6)
    axes.set_xlabel(f"{ranking.metric}: {ranking.measures[0]}")
    _plain(axes)


def _label(entry: RankedCombination) -> str:
    if len(entry.name) <= LONGEST:
        return entry.name
    return f"{entry.name[: LONGEST // 2]}…{entry.name[-LONGEST // 2 + 1 :]}"


def _plain(axes: "Axes") -> None:
    """Reduce the axes to labels, a value axis and faint lines at its ticks."""
    axes.tick_params(axis="both", colors=INK, length=0, labelsize=10)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _inlined(text: str, prefix: str) -> str:
    """Cut out the svg element; make its ids unique on the page and replace its colours by those of the page."""
    changes = {'id="': f'id="{prefix}-', 'href="#': f'href="#{prefix}-', "url(#": f"url(#{prefix}-"}
    svg = text[text.index("<svg") :]
    for old, new in (changes | THEME).items():
        svg = svg.replace(old, new)
    return svg
