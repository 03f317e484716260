"""Reads NIfTI volumes by nibabel, where it is installed."""

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..records import Array, Geometry
from .dicom import CT_OFFSET, optional, windowed

AXES = ("S", "P", "L")
"""Where slices, rows and columns lead: as in an axial CT scan read from DICOM."""

MAX_VOXELS = 1_000_000_000


def read_nifti(
    path: Path, window: tuple[float, float] = (-CT_OFFSET, 65535 - CT_OFFSET), max_voxels: int = MAX_VOXELS
) -> tuple[Array, Geometry]:
    """A volume (1, d, h, w) uint16 with axes to superior, posterior and left, and its geometry; spacing in mm.

    The window's ends become 0 and 65535, what lies beyond is cut off; the default keeps whole numbers as value + 1024,
    which is how CT is read from DICOM. Axes are flipped and swapped, never resampled, so an oblique scan stays on its
    own grid. Raises ``DataError`` when the file cannot be used or holds NaN.
    """
    nibabel, axes = optional("nibabel", "reads NIfTI"), optional("nibabel.orientations", "reads NIfTI")
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        stored = nibabel.load(path)
        _require_volume(stored.shape, path, max_voxels)
        turned = axes.ornt_transform(axes.io_orientation(stored.affine), axes.axcodes2ornt(AXES))
        volume = stored.as_reoriented(turned)
        values = np.asarray(volume.dataobj, dtype=np.float64)
        spacing = tuple(float(step) for step in nibabel.affines.voxel_sizes(volume.affine))
    except (OSError, EOFError, ValueError, TypeError, nibabel.filebasedimages.ImageFileError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not NIfTI, or damaged ({reason}); replace it by a fresh copy.") from error
    values = values.reshape(values.shape[:3])
    if np.isnan(values).any():
        raise DataError(
            f"{path} holds {np.isnan(values).sum():,} voxels that are no number; fill them, or leave it out."
        )
    # Slice by slice: a scan as float64 is large, and windowing it whole would hold it four times.
    image = np.stack([windowed(part, *window) for part in values])[None]
    return image, Geometry(np.eye(4), values.shape, str(path), spacing, "".join(AXES))


def _require_volume(shape: tuple[int, ...], path: Path, max_voxels: int) -> None:
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise DataError(f"{path} has the shape {shape}; save the one volume that is meant, with three axes.")
    if np.prod(shape, dtype=np.int64) > max_voxels:
        raise DataError(f"{path} has more than {max_voxels:,} voxels; reduce it, or raise max_voxels.")
