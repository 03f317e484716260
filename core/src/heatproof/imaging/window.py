"""Windows: which values of a file become black and white."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator

from ..errors import DataError
from ..records import Array

PERCENTILES = (0.5, 99.5)
"""The percentiles of the window ``percentiles``, as nnU-Net clips values (Isensee et al. 2021, Nature Methods 18)."""


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError(f"the window {ends} does not rise; give the lower end first")
    return ends


Ends = Annotated[tuple[float, float], AfterValidator(_rising)]
"""The values that become black and white."""
Window: TypeAlias = Literal["type", "percentiles", "voi"] | Ends
"""How the values of a file become grey or colour, as a setting of datasets.

``type``: as stored, where white is the largest value of the unsigned type, or 1 for floats from 0 to 1; other values
are refused. ``percentiles``: the 0.5th percentile of the file's values becomes black and the 99.5th white. ``voi``: the
window that the file itself names, of DICOM the first one (PS3.3 C.11.2), of NIfTI ``cal_min`` and ``cal_max``. Two
numbers: these values, in the unit of the file.
"""


def white_of(values: Array) -> float | None:
    """The value of white: the largest of the unsigned type, or 1 for floats from 0 to 1; None if nothing tells it."""
    if values.dtype.kind == "u":
        return float(np.iinfo(values.dtype).max)
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
        return 1.0
    return None


def windowed(values: Array, low: float, high: float) -> Array:
    """Values as uint16: 0 up to ``low``, 65535 from ``high`` on, and linear in between."""
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)


def seen_through(values: Array, window: Window, path: Path, voi: tuple[float, float] | None = None) -> Array:
    """The values (c, *space) of a file through a window: uint16, or as they are for ``type``.

    ``voi`` are the ends of the file's own window. Raises ``DataError`` where the window is not defined for the file.
    """
    if window == "type":
        return _as_stored(values, path)
    low, high = _ends(values, window, path, voi)
    # Part by part: a whole scan in float64 would need four times its memory.
    return np.stack([np.stack([windowed(part, low, high) for part in channel]) for channel in values])


def _as_stored(values: Array, path: Path) -> Array:
    if white_of(values) is not None:
        return values
    raise DataError(
        f"{path} holds values from {values.min():g} to {values.max():g} ({values.dtype}), which have no black and "
        "white of their own; set `window` of the dataset to percentiles, voi or two numbers, or store unsigned "
        "integers."
    )


def _ends(values: Array, window: Window, path: Path, voi: tuple[float, float] | None) -> tuple[float, float]:
    """The values that become black and white."""
    if window == "voi":
        if voi is None:
            raise DataError(f"{path} names no window of its own; set `window` to percentiles or two numbers.")
        return voi
    if window != "percentiles":
        return float(window[0]), float(window[1])
    low, high = (float(end) for end in np.percentile(values, PERCENTILES))
    if low == high:
        raise DataError(
            f"{path} has {low:g} at the percentiles {PERCENTILES[0]} and {PERCENTILES[1]}, so nothing lies between "
            "black and white; set `window` to two numbers."
        )
    return low, high
