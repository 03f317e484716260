"""The image as it was taken, for people to look at: in colours of 8 bits, on the grid of a prepared sample."""

import numpy as np
from PIL import Image

from ..records import Array, Geometry, Sample


def original_image(native: Sample, prepared: Sample) -> Array | None:
    """The native image (h, w, 3) uint8 on the grid of the prepared one; None for volumes and without a way back."""
    if len(prepared.space) != 2 or prepared.geometry is None:
        return None
    start = native.geometry or Geometry.identity(native.space)
    affine = np.linalg.solve(start.affine, prepared.geometry.affine)
    reduced = max(1, int(np.sqrt(abs(np.linalg.det(affine[:2, :2])))))
    (down, across, top), (slant, right, left) = affine[:2] / reduced
    size, way = (prepared.space[1], prepared.space[0]), (right, slant, left, across, down, top)
    # Channel by channel, since a large image takes ten times as long to bring into another order.
    planes = [Image.fromarray(np.ascontiguousarray(values)).reduce(reduced) for values in brightness(native.image)]
    moved = [
        np.asarray(plane.transform(size, Image.Transform.AFFINE, way, Image.Resampling.BILINEAR)) for plane in planes
    ]
    return np.stack(moved if len(moved) == 3 else 3 * moved, axis=-1)


def brightness(image: Array) -> Array:
    """An image (c, h, w) as 8 bits, three channels or the first one; all but 8 bits span black to white."""
    values = image if len(image) == 3 else image[:1]
    if values.dtype == np.uint8:
        return values
    values = np.nan_to_num(values.astype(np.float64))
    return np.asarray(255 * (values - values.min()) / (np.ptp(values) or 1), dtype=np.uint8)
