"""Reads DICOM: a file as an image, and a folder of slices as a CT scan."""

from pathlib import Path

from heatproof.errors import DataError
from heatproof.imaging.reader import MAX_PIXELS, Reader
from heatproof.imaging.window import Window
from heatproof.records import Array, Geometry

PREAMBLE = 128
"""Bytes of any content at the start of a DICOM file."""
MAGIC = b"DICM"


class Dicom(Reader):
    """Reads DICOM files of one frame, and folders with the slices of one CT scan.

    CT becomes Hounsfield units + 1024, rounded and clipped at zero. Other grey images use the full range of their type:
    after the modality rescale, the smallest value that the file could store becomes 0 and the largest 255 (up to 8 bits
    stored) or 65535; MONOCHROME1 is inverted. Unsigned values of 8 and 16 bits therefore stay as stored. Colour becomes
    RGB. Through a window, values after the modality rescale become 0 … 65535; ``voi`` is the first window of the file.
    Spacing is in mm, for rows and columns; orientation names the side to which each axis points. Slices are ordered by
    position, not by file name; other files of the folder are ignored. Masks are true where the stored value, or a
    channel of the colour, is above zero; lossy compression is refused.
    """

    suffixes = (".dcm", ".dicom")
    signatures = ((PREAMBLE, MAGIC),)
    folders = True

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """Read a file as an image (c, h, w) uint8 or uint16, or a folder as a scan (1, d, h, w) uint16."""
        return self.read_through(path, "type", max_pixels)

    def read_through(self, path: Path, window: Window, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """Read a file or a folder as ``read_image`` does, but through a window, as uint16."""
        from . import decoding

        if path.is_dir():
            return decoding.read_series(self._slices(path), max_pixels, window)
        return decoding.read_dicom(path, max_pixels, window)

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """Read a file as a mask (h, w) bool."""
        from . import decoding

        if path.is_dir():
            raise DataError(f"{path} is a folder; masks are read from files only: save the mask as NIfTI, for example.")
        return decoding.read_mask(path, max_pixels)

    def _slices(self, folder: Path) -> list[Path]:
        return [path for path in sorted(folder.iterdir()) if path.is_file() and self._is_dicom(path)]

    def _is_dicom(self, path: Path) -> bool:
        with open(path, "rb") as stream:
            return bool(self.claimed(path)) or self.recognises(stream.read(PREAMBLE + len(MAGIC)))
