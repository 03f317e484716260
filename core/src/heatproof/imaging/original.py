"""Between the original image and the grid of a prepared sample: the image in 8 bits, and heatmaps moved back."""

import numpy as np
from PIL import Image

from ..errors import DataError
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


def on_original(values: Array, geometry: Geometry) -> Array:
    """A heatmap (h, w) on the native image (H, W) float32: interpolated between cells, NaN outside the grid.

    Raises ``DataError`` for a volume.
    """
    if values.ndim != 2:
        raise DataError(f"a heatmap of shape {values.shape} is moved to no original; it is on the model's grid.")
    inverse = np.linalg.inv(geometry.affine)
    rows, columns = inverse[:2]
    matrix = (columns[1], columns[0], columns[2], rows[1], rows[0], rows[2])  # Pillow takes x before y
    plane = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    height, width = geometry.native
    moved = np.array(plane.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    centres = np.stack(np.meshgrid(*(np.arange(length) + 0.5 for length in geometry.native), indexing="ij"), axis=-1)
    position = centres @ inverse[:2, :2].T + inverse[:2, 2]
    moved[((position < 0) | (position >= values.shape)).any(axis=-1)] = np.nan
    return moved


def brightness(image: Array) -> Array:
    """The channels (3 or 1, h, w) of an image as uint8; values of other types are stretched from black to white."""
    if len(image) != 3:
        image = image[:1]
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64))
    return np.asarray(255 * (values - values.min()) / (np.ptp(values) or 1), dtype=np.uint8)
