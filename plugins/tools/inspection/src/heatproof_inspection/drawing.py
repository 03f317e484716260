"""Parts of figures that several inspectors share: mosaics of small images, scatter plots, and plain axes."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from heatproof.records import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#14568c", "#c2571a", "#2f7d4f", "#7b4ea3", "#8a6d1b")
"""Colours that also people with a colour vision deficiency tell apart, and that differ in brightness."""
MARKERS = ("o", "s", "^", "D", "v", "P")
MUTED = "#59626d"
LISTED = 24
"""The most groups that a legend names."""


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: "Axes") -> None:
    """Leave only the axes that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)


def scaled(tile: Array) -> Array:
    """Return an array scaled to 0–1 by its smallest and largest value; a constant one becomes 0.5.

    >>> scaled(np.array([1.0, 2.0, 3.0])).tolist(), scaled(np.array([4.0, 4.0])).tolist()
    ([0.0, 0.5, 1.0], [0.5, 0.5])
    """
    span = np.ptp(tile)
    if span == 0:
        return np.full(tile.shape, 0.5)
    return np.asarray((tile - tile.min()) / span)


def mosaic(tiles: Sequence[Array]) -> Array:
    """Return tiles (h, w) or (h, w, 3), scaled 0–1, side by side in rows, with a line of 1 pixel between them.

    The lines and the rest of the last row are white (1).

    >>> mosaic([np.zeros((1, 1))] * 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    across = ceil(sqrt(len(tiles)))
    height, width = tiles[0].shape[:2]
    down = ceil(len(tiles) / across)
    canvas = np.ones((down * (height + 1) - 1, across * (width + 1) - 1, *tiles[0].shape[2:]))
    for index, tile in enumerate(tiles):
        top = index // across * (height + 1)
        left = index % across * (width + 1)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def mosaic_figure(tiles: Sequence[Array], title: str) -> "Figure":
    """Draw a mosaic of tiles in grey or colours."""
    image = mosaic(tiles)
    figure = new_figure(7, 7 * image.shape[0] / image.shape[1] + 0.5)
    axes = figure.add_subplot()
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    return figure


def scatter(
    positions: Array, groups: Sequence[str], ringed: Array, names: tuple[str, str], title: str, ring: str = "wrong"
) -> "Figure":
    """Draw points (m, 2), coloured by group (m,), with a ring round those of ``ringed`` (m,), which mean ``ring``."""
    figure = new_figure(7, 5.5)
    axes = figure.add_subplot()
    every = sorted(set(groups))
    for index, group in enumerate(every):
        inside = np.array([entry == group for entry in groups])
        axes.scatter(
            positions[inside, 0], positions[inside, 1], s=14, color=COLOURS[index % len(COLOURS)], linewidths=0,
            marker=MARKERS[index // len(COLOURS) % len(MARKERS)], label=group or "no label", alpha=0.8,
        )  # fmt: skip
    if ringed.any():
        across, up = positions[ringed].T
        axes.scatter(across, up, s=42, facecolors="none", edgecolors="#17202a", linewidths=0.8, label=ring)
    plain(axes)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(title, fontsize=10)
    if len(every) <= LISTED:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
