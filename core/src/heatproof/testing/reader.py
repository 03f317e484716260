"""Laws of readers: images and their geometry, and files that must be refused."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from ..component import Component
from ..errors import DataError
from ..imaging.reader import MAX_PIXELS, Reader
from ..records import Array, Geometry
from .check import NotApplicable, claim

SHARES = (0.0, 0.05, 0.4, 0.7)
"""The shares of a file to which it is cut off."""


class ReaderBench:
    """A reader, and a file of its format for the checks; without a file most laws do not apply."""

    def __init__(self, reader: Reader, file: Path | None = None):
        self.reader = reader
        self._file = file

    @property
    def component(self) -> Component:
        """The reader."""
        return self.reader

    @property
    def file(self) -> Path:
        """The file; raises ``NotApplicable`` without one."""
        if self._file is None:
            raise NotApplicable("needs a file of its format: check_reader(reader, file=…)")
        return self._file

    @cached_property
    def image(self) -> tuple[Array, Geometry]:
        """The image in the file, and its geometry."""
        return self.reader.read_image(self.file)

    @contextmanager
    def copy(self, content: bytes) -> Iterator[Path]:
        """A file of the same name with other content."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, self.file.name)
            path.write_bytes(content)
            yield path


def it_claims_files_by_name_or_first_bytes(bench: ReaderBench) -> None:
    """A reader has a suffix or a signature; suffixes are in lower case with the dot, signatures are not empty."""
    suffixes = bench.reader.suffixes
    signatures = bench.reader.signatures
    claim(bool(suffixes or signatures), "it claims no file; give suffixes or signatures.")
    wrong = [suffix for suffix in suffixes if not suffix.startswith(".") or suffix != suffix.lower() or suffix == "."]
    claim(not wrong, f"suffixes {wrong} are not in lower case with their dot.")
    valid = all(offset >= 0 and signature for offset, signature in signatures)
    claim(valid, "a signature is empty or before the first byte.")


def it_claims_the_file_that_it_reads(bench: ReaderBench) -> None:
    """The file has one of the reader's suffixes or signatures."""
    claimed = bench.reader.claimed(bench.file) or bench.reader.recognises(bench.file.read_bytes())
    claim(bool(claimed), f"{bench.file.name} has none of its suffixes and signatures.")


def an_image_has_the_shape_of_its_geometry(bench: ReaderBench) -> None:
    """The image is (c, *space) in integers or finite floats, with two or three spatial axes.

    Its geometry is the identity on that space and names the file. If it has spacing or orientation, they have one value
    per axis; spacing is positive.
    """
    image, geometry = bench.image
    axes = image.ndim - 1
    claim(axes in (2, 3) and image.size > 0, f"the image has shape {image.shape}.")
    claim(image.dtype.kind in "uif", f"the image is {image.dtype}; allowed: integers and floats.")
    claim(bool(np.isfinite(image).all()), "the image has values that are NaN or infinite.")
    claim(geometry.native == image.shape[1:], f"the image has shape {image.shape}, its geometry {geometry.native}.")
    claim(np.array_equal(geometry.affine, np.eye(axes + 1)), "the geometry does not map each pixel to itself.")
    claim(geometry.source == str(bench.file), f"the geometry names {geometry.source!r}, not the file.")
    claim(len(geometry.orientation) in (0, axes), f"the orientation is {geometry.orientation!r} for {axes} axes.")
    spacing = geometry.spacing
    fits = spacing is None or (len(spacing) == axes and min(spacing) > 0)
    claim(fits, f"the spacing is {spacing} for {axes} axes.")


def reading_twice_gives_the_same_bits(bench: ReaderBench) -> None:
    """Another reader with the same settings reads the same image to the bit."""
    again, _ = bench.reader.with_().read_image(bench.file)
    claim(np.array_equal(again, bench.image[0]), "the image differs when it is read again.")


def a_mask_lies_on_its_image(bench: ReaderBench) -> None:
    """``read_mask`` returns bool with the image's spatial shape, or raises ``DataError``."""
    try:
        mask = bench.reader.read_mask(bench.file)
    except DataError as error:
        raise NotApplicable(f"refuses the file as a mask: {error}") from None
    shape = bench.image[0].shape[1:]
    claim(mask.dtype == bool and mask.shape == shape, f"the mask is {mask.dtype} {mask.shape}, its image {shape}.")


def damaged_foreign_and_absent_files_are_refused(bench: ReaderBench) -> None:
    """A file that is cut off, has another format or does not exist raises a ``DataError`` that names the file."""
    content = bench.file.read_bytes()
    for share in SHARES:
        size = int(share * len(content))
        with bench.copy(content[:size]) as path:
            _claim_refused(bench.reader, path, f"a file that is cut off after {size} bytes")
    with bench.copy(b"a table, nothing else\n" * 99) as path:
        _claim_refused(bench.reader, path, "a file of another format")
    _claim_refused(bench.reader, bench.file.with_name(f"absent {bench.file.name}"), "a file that does not exist")


def the_limit_of_pixels_is_judged_before_decoding(bench: ReaderBench) -> None:
    """One pixel more than allowed is refused, with the same message if the second half of the file is missing.

    The law needs a file with a header that can be read by itself, such as a file without compression.
    """
    image, _ = bench.image
    limit = image[0].size
    claim(
        np.array_equal(bench.reader.read_image(bench.file, limit)[0], image), f"max_pixels={limit} changes the image."
    )
    content = bench.file.read_bytes()
    with bench.copy(content) as path:
        whole = _claim_refused(bench.reader, path, "an image of one pixel too many", limit - 1)
        path.write_bytes(content[: len(content) // 2])
        half = _claim_refused(bench.reader, path, "half a file of one pixel too many", limit - 1)
    claim(whole == half, f"it decodes first: the error of the file is {whole!r}, of its first half {half!r}.")


LAWS: tuple[Callable[[ReaderBench], None], ...] = (
    it_claims_files_by_name_or_first_bytes,
    it_claims_the_file_that_it_reads,
    an_image_has_the_shape_of_its_geometry,
    reading_twice_gives_the_same_bits,
    a_mask_lies_on_its_image,
    damaged_foreign_and_absent_files_are_refused,
    the_limit_of_pixels_is_judged_before_decoding,
)


def _claim_refused(reader: Reader, path: Path, description: str, limit: int = MAX_PIXELS) -> str:
    """The message of the ``DataError`` for a file; raises ``Violation`` unless there is one that names the file."""
    try:
        reader.read_image(path, limit)
    except DataError as error:
        claim(path.name in str(error), f"the error for {description} does not name the file: {error}")
        return str(error)
    except Exception as error:
        claim(False, f"{description} raises {type(error).__name__} ({error}); raise DataError.")
    claim(False, f"{description} is read; raise DataError.")
    return ""
