"""The area that an outline or a box covers in each pixel of an image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..records import Array


@dataclass
class Overhang:
    """How far boxes and contours may reach beyond the image, in pixels; what they lose there is counted.

    ``clipped`` holds a sentence for each that does, by its source.
    """

    limit: float = 0.5
    clipped: dict[str, str] = field(default_factory=dict)

    def require(
        self, low: Sequence[float], high: Sequence[float], shape: tuple[int, ...], source: str, name: str
    ) -> None:  # fmt: skip
        """Count an outline from ``low`` to ``high`` (x, y) that leaves the image (h, w).

        Raises ``DataError`` where it is farther out than allowed, or wholly outside.
        """
        height, width = shape
        beyond = max(-low[0], -low[1], high[0] - width, high[1] - height)
        inside = min(high) > 0 and low[0] < width and low[1] < height
        if beyond > self.limit or not inside:
            raise DataError(
                f"{source}: the {name} leaves the image of {height} × {width} pixels by {beyond:g} pixels; correct it, "
                f"or set overhang (now {self.limit:g}) to the pixels that may be cut off."
            )
        if beyond > 0:
            self.clipped[source] = f"{source}: the {name} leaves the image by {beyond:g} pixels"


def add_outline(points: Array, mask: Array, source: str) -> None:
    """Add the share of each pixel that an outline encloses to a mask (h, w), which never exceeds 1.

    ``points`` (n, 2) are its corners, x before y, and ``source`` names it in messages. Raises ``DataError`` for an
    outline that encloses no area in the image.
    """
    left, top = np.floor(points.min(axis=0)).astype(int)
    share = enclosed_area(points - (left, top))[max(0, -top) :, max(0, -left) :]
    left, top = np.maximum((left, top), 0)
    share = share[: mask.shape[0] - top, : mask.shape[1] - left]
    if not share.any():
        raise DataError(f"{source}: the contour encloses no area; delete it, or draw it again.")
    part = mask[top : top + share.shape[0], left : left + share.shape[1]]
    np.minimum(part + share, 1, out=part)


def enclosed_area(points: Array) -> Array:
    """The share (h, w) float32 of each pixel that an outline encloses, on the smallest grid that holds it.

    ``points`` (n, 2) are its corners, x before y. Matplotlib's renderer Agg computes the area, exact to 1 / 256 of a
    pixel. An outline that crosses itself encloses every point that it winds round.
    """
    try:
        from matplotlib.backends.backend_agg import RendererAgg
        from matplotlib.path import Path as Outline
        from matplotlib.transforms import Affine2D
    except ImportError:
        raise DataError("Matplotlib draws outlines, and is not installed; run 'pip install matplotlib'.") from None

    width, height = (max(1, int(end)) for end in np.ceil(points.max(axis=0)))
    renderer: Any = RendererAgg(width, height, 72)  # type: ignore[no-untyped-call]
    pen = renderer.new_gc()
    pen.set_linewidth(0)
    pen.set_snap(False)
    upwards = Affine2D().scale(1, -1).translate(0, height)
    renderer.draw_path(pen, Outline(np.vstack([points, points[:1]]), closed=True), upwards, (0, 0, 0, 1))
    levels = np.asarray(renderer.buffer_rgba())[..., 3]
    # Agg counts the area in 256ths of a pixel, but its level 255 stands for the whole pixel.
    return np.where(levels == 255, np.float32(1), levels / np.float32(256))


def box(rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, ...]) -> Array:
    """The share of each pixel (h, w) that a box between continuous indices covers.

    >>> box((0.5, 2), (1, 2), (3, 2)).tolist()
    [[0.0, 0.5], [0.0, 1.0], [0.0, 0.0]]
    """
    covered = [
        np.clip(np.minimum(high, np.arange(length) + 1) - np.maximum(low, np.arange(length)), 0, 1)
        for (low, high), length in zip((rows, columns), shape)
    ]
    return np.asarray(np.outer(*covered), dtype=np.float32)
