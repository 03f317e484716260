"""Reads NIfTI volumes with nibabel."""

from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.reader import MAX_PIXELS, Reader
from heatproof.imaging.window import Window, seen_through
from heatproof.records import Array, Geometry

AXES = ("S", "P", "L")
"""The directions of slices, rows and columns: superior, posterior, left, as in an axial CT scan read from DICOM."""


class Nifti(Reader):
    """Reads NIfTI volumes (1, d, h, w) with axes to superior, posterior and left; spacing in mm.

    Values are the file's own, such as Hounsfield units: integers as stored, or floats after the file's rescale (a slope
    of zero means none, as NIfTI-1 says). The window ``voi`` is ``cal_min`` to ``cal_max``. Axes are flipped and
    swapped, never resampled: an oblique scan stays on its own grid. Masks (d, h, w) are true where the value is above
    zero. Refused are voxels that are NaN or infinite, complex numbers and colours, and a rescale that is not finite.
    """

    suffixes = (".nii", ".nii.gz")

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """Read a volume (1, d, h, w) in its own values, and its geometry."""
        values, geometry, _ = _read(path, max_pixels)
        return values[None], geometry

    def read_through(self, path: Path, window: Window, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """Read a volume (1, d, h, w) through a window, and its geometry."""
        values, geometry, voi = _read(path, max_pixels)
        return seen_through(values[None], window, path, voi), geometry

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """Read a mask (d, h, w) bool."""
        return np.asarray(_read(path, max_pixels)[0] > 0)


def _read(path: Path, max_pixels: int) -> tuple[Array, Geometry, tuple[float, float] | None]:
    """Read the values (d, h, w) with axes as in ``AXES``, their geometry, and the file's own window."""
    import nibabel
    from nibabel import affines, orientations

    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        stored: Any = nibabel.load(path)
        header = _header(stored)
        _require_volume(stored, header, path, max_pixels)
        rotation = orientations.ornt_transform(
            orientations.io_orientation(stored.affine), orientations.axcodes2ornt(AXES)
        )
        volume = stored.as_reoriented(rotation)
        values = np.asarray(volume.dataobj)
        spacing = tuple(float(step) for step in affines.voxel_sizes(volume.affine))
    except HeatproofError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is not NIfTI, or damaged ({reason}); replace it by a fresh copy.") from error
    values = values.reshape(values.shape[:3])
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise DataError(
            f"{path} holds voxels that are NaN or infinite ({count:,}); fill them, or leave the volume out."
        )
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    geometry = Geometry(np.eye(4), values.shape, str(path), spacing, "".join(AXES))
    return values, geometry, _window(header)


def _header(stored: Any) -> Any:
    """The header as the file holds it: nibabel forgets the rescale in the header of an image."""
    with stored.file_map["image"].get_prepare_fileobj("rb") as stream:
        return type(stored.header).from_fileobj(stream)


def _window(header: Any) -> tuple[float, float] | None:
    """The window for display that a header names."""
    low = float(header["cal_min"])
    high = float(header["cal_max"])
    return (low, high) if low < high < np.inf else None


def _require_volume(stored: Any, header: Any, path: Path, max_pixels: int) -> None:
    """Raise ``DataError`` unless a file holds one volume of real numbers with a rescale that is finite."""
    shape = stored.shape
    if len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise DataError(f"{path} has the shape {shape}; save the volume you need with three axes.")
    if np.prod(shape, dtype=np.int64) > max_pixels:
        raise DataError(f"{path} has more than {max_pixels:,} voxels; reduce it, or raise max_pixels.")
    kind = stored.get_data_dtype()
    if kind.kind not in "uif":
        raise DataError(f"{path} holds voxels of type {kind}; save one real number per voxel, such as the magnitude.")
    slope = float(header["scl_slope"])
    intercept = float(header["scl_inter"])
    if not np.isfinite([slope, intercept]).all():
        raise DataError(
            f"{path} has the rescale slope {slope:g} and intercept {intercept:g}; correct the header (1 and 0: none)."
        )
