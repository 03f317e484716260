"""Parts of figures that several papers share: colours, bars with intervals, and the remark on synthetic data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .reproduction import Reproduction

COLOURS = ("#14568c", "#c2571a", "#2f7d4f", "#7b4ea3", "#8a6d1b")
"""Colours that also people with a colour vision deficiency tell apart, and that differ in brightness."""
MUTED = "#59626d"
Row = Mapping[str, Any]


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def titled(figure: "Figure", reproduction: "Reproduction", title: str, step: str) -> None:
    """Write the title of a figure; it says where the data are synthetic."""
    remark = "\nSynthetic data: nothing here is about patients." if reproduction.synthetic_in(step) else ""
    figure.suptitle(f"{title}{remark}", fontsize=10)


def bars(axes: "Axes", positions: Sequence[float], rows: Sequence[Row], width: float, **style: Any) -> None:
    """Draw a bar with its interval for each row with ``value``, ``low`` and ``high``; a missing value has no bar."""
    values = [row["value"] for row in rows]
    spans = [
        [row["value"] - row["low"] for row in rows],
        [row["high"] - row["value"] for row in rows],
    ]  # fmt: skip
    axes.bar(positions, values, width, **style)
    axes.errorbar(positions, values, yerr=spans, fmt="none", ecolor="#17202a", elinewidth=1, capsize=1.5)


def plain(axes: "Axes") -> None:
    """Leave only the axes that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)


def chance(axes: "Axes", row: Row | None) -> None:
    """Draw the random baseline as a dashed line."""
    if row is not None:
        axes.axhline(row["value"], color=MUTED, linestyle=(0, (5, 3)), linewidth=1.2, label="random heatmap")
