"""The reader of DICOM: an image of one file, a CT scan of a folder of slices."""

from pathlib import Path

from heatproof.errors import DataError
from heatproof.imaging.reader import MAX_PIXELS, Reader
from heatproof.records import Array, Geometry


class Dicom(Reader):
    """DICOM files of one frame, and folders that hold the slices of one CT scan.

    CT is Hounsfield units + 1024, rounded, below zero cut off. Other grey images fill their type: after the modality
    rescale the smallest value that the file could store is 0 and the largest 255 (up to 8 bits stored) or 65535, the
    other way round for MONOCHROME1. So 8 and 16 bits without sign stay as stored. Colour stays as stored, as RGB. No
    window is applied. Spacing is in mm, by rows and columns; orientation names the sides to which they lead. Slices are
    ordered by their place, whatever they are called, and other files of the folder are passed over. Masks are true
    where the stored value is above zero.
    """

    suffixes = (".dcm", ".dicom")
    signatures = ((128, b"DICM"),)
    folders = True

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image (c, h, w) uint8 or uint16, or of a folder the scan (1, d, h, w) uint16, and its geometry."""
        from . import decoding

        if path.is_dir():
            return decoding.read_series(self._slices(path), max_pixels)
        return decoding.read_dicom(path, max_pixels)

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """A mask (h, w) bool of one file."""
        from . import decoding

        if path.is_dir():
            raise DataError(f"{path} is a folder, of which no mask is read; save the mask as one file, such as NIfTI.")
        return decoding.read_mask(path, max_pixels)

    def _slices(self, folder: Path) -> list[Path]:
        return [path for path in sorted(folder.iterdir()) if path.is_file() and self._reads(path)]

    def _reads(self, path: Path) -> bool:
        with open(path, "rb") as stream:
            return bool(self.claimed(path)) or self.recognises(stream.read(132))
