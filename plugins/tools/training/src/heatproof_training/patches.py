"""Patches: square windows of prepared images, for networks that take images of any size."""

from itertools import product
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from heatproof.component import Params
from heatproof.config.entries import Count, not_boolean
from heatproof.errors import DataError
from heatproof.imaging.area import Grid
from heatproof.imaging.transforms import placed_on
from heatproof.records import Sample

Start = tuple[int, ...]
"""The first pixel of a patch along each axis."""
DRAWS = 100
"""How often a random window is drawn until one lies inside the field."""


class PatchSettings(Params):
    """Square windows of each prepared image, of ``size`` pixels.

    In training an epoch draws ``per_image`` windows of each image; the other parts are cut into windows side by side,
    of which the last ones of an axis may overlap. Windows with less than this share ``inside`` the field of view are
    left out.
    """

    size: Annotated[Count, Field(le=10_000)]
    per_image: Annotated[Count, Field(le=10_000)] = 16
    inside: Annotated[float, Field(ge=0, le=1), BeforeValidator(not_boolean)] = 0.5


def tiles(sample: Sample, settings: PatchSettings) -> list[Start]:
    """Return the starts of the windows that cover an image side by side, but for those outside the field.

    Raises ``DataError`` for an image that is smaller than a window, or without such a window inside the field.
    """
    _require_room(sample, settings)
    starts = list(product(*(_side_by_side(length, settings.size) for length in sample.space)))
    inside = [start for start in starts if _fits(sample, start, settings)]
    if not inside:
        raise DataError(
            f"no window of {settings.size} pixels of {sample.id} has a share of {settings.inside:g} inside the field of"
            " view; lower patches.inside or patches.size."
        )
    return inside


def random_start(sample: Sample, settings: PatchSettings, rng: np.random.Generator) -> Start:
    """Draw the start of a window inside the field; where few windows are, it may be one of ``tiles``.

    Raises ``DataError`` as ``tiles`` does.
    """
    _require_room(sample, settings)
    for _ in range(DRAWS):
        start = tuple(int(rng.integers(length - settings.size + 1)) for length in sample.space)
        if _fits(sample, start, settings):
            return start
    starts = tiles(sample, settings)
    return starts[rng.integers(len(starts))]


def patch(sample: Sample, start: Start, size: int) -> Sample:
    """Cut a window out of a sample; annotations, field, geometry and spatial extras go with it.

    The id tells where it begins, as in ``IDRiD_01[0,256]``.
    """
    centre = tuple(first + size / 2 for first in start)
    grid = Grid(sample.space, (size,) * len(start), (1.0,) * len(start), centre)
    image = sample.image[(slice(None), *(slice(first, first + size) for first in start))]
    placed = placed_on(sample, grid, image, np.ones(grid.size, bool))
    position = ",".join(map(str, start))
    return Sample(**{**vars(placed), "id": f"{sample.id}[{position}]"})


def _side_by_side(length: int, size: int) -> list[int]:
    """The starts of the fewest windows that cover an axis, in equal distances."""
    count = -(-length // size)
    return [round(index * (length - size) / max(1, count - 1)) for index in range(count)]


def _fits(sample: Sample, start: Start, settings: PatchSettings) -> bool:
    """Whether enough of a window is inside the field."""
    if sample.field is None:
        return True
    window = sample.field[tuple(slice(first, first + settings.size) for first in start)]
    return bool(window.mean() >= settings.inside)


def _require_room(sample: Sample, settings: PatchSettings) -> None:
    if min(sample.space) < settings.size:
        space = " × ".join(map(str, sample.space))
        raise DataError(
            f"the prepared image of {sample.id} has {space} pixels, fewer than patches.size ({settings.size}); "
            "lower it, or choose a model with larger images."
        )
