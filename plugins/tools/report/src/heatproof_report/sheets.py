"""Sheets of tiles: the original, all heatmaps and all masks of a case in one image, which the page's script colours.

Heatmaps are stored in 256 steps of their colour scale and masks in black and white: the page chooses colours, opacity
and contours. Sheets are for display only: they are compressed with losses.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from PIL import Image

from heatproof.records import Array

from .layers import Heat, Layers

BLOCK = 16
"""Tiles begin at a multiple of this number of pixels: blocks of the compression do not mix two of them."""
THUMBNAIL: Mapping[str, Any] = {"format": "WEBP", "quality": 55, "method": 3}
WHOLE: Mapping[str, Any] = {"format": "JPEG", "quality": 78}
"""The options of Pillow for thumbnails, which must be small, and for whole grids, which must be written quickly."""


@dataclass(frozen=True)
class Tiling:
    """The size of tiles in pixels, and of a sheet in tiles."""

    width: int
    height: int
    columns: int
    rows: int

    @property
    def pitch(self) -> tuple[int, int]:
        """The distance of tiles (across, down) in pixels."""
        return ceil(self.width / BLOCK) * BLOCK, ceil(self.height / BLOCK) * BLOCK


def tiling(space: tuple[int, int], count: int, side: int | None = None) -> Tiling:
    """Lay out ``count`` tiles of images (h, w) = ``space``, reduced to ``side`` pixels on the longer side."""
    scale = min(1.0, (side or max(space)) / max(space))
    height, width = (max(1, round(scale * length)) for length in space)
    columns = ceil(sqrt(count))
    return Tiling(width, height, columns, ceil(count / columns))


def tiles(case: Layers, methods: Sequence[str]) -> list[Array]:
    """The tiles of a case: the original (h, w, 3), then the heatmap of each method and each mask (h, w), all uint8.

    A method without a heatmap of the case has a black tile.
    """
    heats = {heat.method: codes(heat) for heat in case.heats}
    black = np.zeros(case.original.shape[:2], np.uint8)
    masks = [255 * mask.astype(np.uint8) for mask in case.masks.values()]
    return [case.original, *(heats.get(method, black) for method in methods), *masks]


def codes(heat: Heat) -> Array:
    """Code a heatmap (h, w) by its colour scale: 0 for its low end and 255 for its high end, as uint8."""
    share = (heat.values - heat.low) / ((heat.high - heat.low) or 1)
    coded: Array = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return coded


def sheet(images: Sequence[Array], layout: Tiling, reduced: bool) -> str:
    """Put tiles together and encode them as a data URI; ``reduced`` uses the options for thumbnails."""
    across, down = layout.pitch
    canvas = Image.new("RGB", (across * layout.columns, down * layout.rows))
    for index, pixels in enumerate(images):
        tile = Image.fromarray(pixels)
        if tile.size != (layout.width, layout.height):
            tile = tile.resize((layout.width, layout.height), Image.Resampling.BOX)
        corner = (index % layout.columns * across, index // layout.columns * down)
        canvas.paste(tile.convert("RGB"), corner)
    options = THUMBNAIL if reduced else WHOLE
    stream = io.BytesIO()
    canvas.save(stream, **options)
    return f"data:image/{options['format'].lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
