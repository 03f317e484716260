"""Reads NIfTI volumes with nibabel."""

from pathlib import Path

import numpy as np

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.imaging.reader import MAX_PIXELS, Reader
from heatproof.imaging.transforms import windowed
from heatproof.records import Array, Geometry

AXES = ("S", "P", "L")
"""The directions of slices, rows and columns: superior, posterior, left, as in an axial CT scan read from DICOM."""


class NiftiParams(Params):
    """``window``: the values that become 0 and 65535; values beyond are clipped."""

    window: tuple[float, float] = (-1024, 64511)


class Nifti(Reader[NiftiParams]):
    """Reads NIfTI volumes (1, d, h, w) uint16 with axes to superior, posterior and left; spacing in mm.

    The default window stores whole numbers as value + 1024, like CT read from DICOM. Axes are flipped and swapped,
    never resampled: an oblique scan stays on its own grid. Masks (d, h, w) are true where the value is above zero. A
    volume that holds NaN is refused.
    """

    suffixes = (".nii", ".nii.gz")

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """Read a volume (1, d, h, w) uint16 and its geometry."""
        values, spacing = _read(path, max_pixels)
        # Slice by slice: windowing a whole float64 scan would need four times its memory.
        image = np.stack([windowed(part, *self.params.window) for part in values])[None]
        return image, Geometry(np.eye(4), values.shape, str(path), spacing, "".join(AXES))

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """Read a mask (d, h, w) bool."""
        values, _ = _read(path, max_pixels)
        return np.asarray(values > 0)


def _read(path: Path, max_pixels: int) -> tuple[Array, tuple[float, ...]]:
    """Read the values (d, h, w) float64 with axes as in ``AXES``, and their spacing."""
    import nibabel
    from nibabel import affines, filebasedimages, orientations

    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        stored = nibabel.load(path)
        _require_volume(stored.shape, path, max_pixels)
        rotation = orientations.ornt_transform(
            orientations.io_orientation(stored.affine), orientations.axcodes2ornt(AXES)
        )
        volume = stored.as_reoriented(rotation)
        values = np.asarray(volume.dataobj, dtype=np.float64)
        spacing = tuple(float(step) for step in affines.voxel_sizes(volume.affine))
    except (OSError, EOFError, ValueError, TypeError, filebasedimages.ImageFileError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not NIfTI, or damaged ({reason}); replace it by a fresh copy.") from error
    values = values.reshape(values.shape[:3])
    if np.isnan(values).any():
        raise DataError(
            f"{path} holds voxels that are NaN ({np.isnan(values).sum():,}); fill them, or leave the volume out."
        )
    return values, spacing


def _require_volume(shape: tuple[int, ...], path: Path, max_pixels: int) -> None:
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise DataError(f"{path} has the shape {shape}; save the volume you need with three axes.")
    if np.prod(shape, dtype=np.int64) > max_pixels:
        raise DataError(f"{path} has more than {max_pixels:,} voxels; reduce it, or raise max_pixels.")
