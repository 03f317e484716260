"""Windows: a range of measured values as the grey levels of a picture."""

import numpy as np

from ..records import Array


def windowed(values: Array, low: float, high: float) -> Array:
    """Values as uint16: ``low`` and what is below it 0, ``high`` and what is above it 65535, linear in between."""
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)
