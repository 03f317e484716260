"""The original image, for people to look at: in 8 bits, on the grid of a prepared sample."""

import numpy as np
from PIL import Image

from ..records import Array, Geometry, Sample


def original_image(native: Sample, prepared: Sample) -> Array | None:
    """The native image (h, w, 3) uint8 on the grid of the prepared sample; None for a volume or without a geometry."""
    if len(prepared.space) != 2 or prepared.geometry is None:
        return None
    start = native.geometry or Geometry.identity(native.space)
    affine = np.linalg.solve(start.affine, prepared.geometry.affine)
    reduced = max(1, int(np.sqrt(abs(np.linalg.det(affine[:2, :2])))))
    rows, columns = affine[:2] / reduced
    matrix = (columns[1], columns[0], columns[2], rows[1], rows[0], rows[2])  # Pillow takes x before y
    # Channel by channel, since reordering the axes of a large image takes ten times as long.
    channels = []
    for values in brightness(native.image):
        plane = Image.fromarray(np.ascontiguousarray(values)).reduce(reduced)
        moved = plane.transform(prepared.space[::-1], Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        channels.append(np.asarray(moved))
    return np.stack(channels * (3 // len(channels)), axis=-1)


def brightness(image: Array) -> Array:
    """The channels (3 or 1, h, w) of an image as uint8; values of other types are stretched from black to white."""
    if len(image) != 3:
        image = image[:1]
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64))
    return np.asarray(255 * (values - values.min()) / (np.ptp(values) or 1), dtype=np.uint8)
