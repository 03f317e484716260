"""EXIF orientations: pixels as a file stores them, and as every viewer shows them."""

from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..records import Array, Geometry

UPRIGHT = 1
"""The EXIF orientation of an image that is shown as it is stored."""
TRANSPOSING = range(5, 9)
"""The orientations that exchange rows and columns."""
TURNS = {
    2: (slice(None), slice(None, None, -1)), 3: (slice(None, None, -1), slice(None, None, -1)),
    4: (slice(None, None, -1), slice(None)), 5: (slice(None), slice(None)),
    6: (slice(None), slice(None, None, -1)), 7: (slice(None, None, -1), slice(None, None, -1)),
    8: (slice(None, None, -1), slice(None)),
}  # fmt: skip
"""Orientation → the order of rows and columns, once those of 5 to 8 are exchanged (EXIF 2.32, tag 274)."""
Turned = Literal["refuse", "shown", "stored"]
"""Where annotations of a turned image were drawn if their size does not tell: nobody knows, as shown, or as stored."""


def turned(values: Array, exif: int) -> Array:
    """Stored values (…, h, w) as an image of this EXIF orientation is shown; a view of them.

    >>> import numpy as np
    >>> turned(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    if exif in TRANSPOSING:
        values = values.swapaxes(-1, -2)
    rows, columns = TURNS.get(exif, (slice(None), slice(None)))
    return values[..., rows, columns]


def stored_space(geometry: Geometry) -> tuple[int, ...]:
    """The spatial shape of the stored pixels of an image, which EXIF may turn."""
    if geometry.exif in TRANSPOSING:
        return geometry.native[::-1]
    return geometry.native


def laid_on(values: Array, path: Path, geometry: Geometry, drawn: Turned = "refuse", exif: int = UPRIGHT) -> Array:
    """An annotation (*space) on the grid of its image, which EXIF may have turned; raises ``DataError`` if none fits.

    Its size tells whether it was drawn on the image as shown or on the stored pixels; so does its file's own ``exif``,
    which was applied. Where neither tells, as for a square image or half a turn, ``drawn`` decides.
    """
    space = stored_space(geometry)
    if values.shape not in (geometry.native, space):
        raise DataError(
            f"{path} has {values.shape} pixels, its image {geometry.native}; draw it on the grid of the image."
        )
    if geometry.exif == UPRIGHT or exif != UPRIGHT:
        if values.shape != geometry.native:
            raise DataError(
                f"{path} is turned to {values.shape} pixels by its own EXIF orientation ({exif}), its image to "
                f"{geometry.native}; save both without an orientation."
            )
        return values
    if space == geometry.native:
        require_known(path, geometry, drawn)
        return turned(values, geometry.exif) if drawn == "stored" else values
    return values if values.shape == geometry.native else turned(values, geometry.exif)


def require_known(path: Path | str, geometry: Geometry, drawn: Turned = "refuse") -> None:
    """Raise ``DataError`` if an image is turned and nothing says where an annotation without a size was drawn."""
    if geometry.exif != UPRIGHT and drawn == "refuse":
        raise DataError(
            f"{path} annotates {geometry.source}, which its EXIF orientation ({geometry.exif}) turns, and nothing says "
            "whether it was drawn on the image as viewers show it or on the stored pixels; set `turned` of the dataset "
            "to shown or stored if it has this setting, or save the image without an orientation."
        )
