"""Laws of readers: what an image and its geometry are, and which files are refused."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from ..component import Component
from ..errors import DataError
from ..imaging.reader import Reader
from ..records import Array, Geometry
from .check import NotApplicable, claim

SHARES = (0.0, 0.05, 0.4, 0.7)
"""How much of a file is left of it."""


class ReaderBench:
    """A reader, and a file of its format on which it is tried; most laws do not apply without one."""

    def __init__(self, reader: Reader, file: Path | None = None):
        self.reader, self._file = reader, file

    @property
    def component(self) -> Component:
        """The reader."""
        return self.reader

    @property
    def file(self) -> Path:
        """The file that was given."""
        if self._file is None:
            raise NotApplicable("needs a file of its format: check_reader(reader, file=…)")
        return self._file

    @cached_property
    def image(self) -> tuple[Array, Geometry]:
        """What the file holds."""
        return self.reader.read_image(self.file)

    @contextmanager
    def copy(self, content: bytes) -> Iterator[Path]:
        """A file of the same name with other content."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, self.file.name)
            path.write_bytes(content)
            yield path


def it_claims_files_by_name_or_first_bytes(bench: ReaderBench) -> None:
    """There is a suffix or a signature; suffixes are in lower case with their dot, signatures are not empty."""
    suffixes, signatures = bench.reader.suffixes, bench.reader.signatures
    claim(bool(suffixes or signatures), "it claims no file; give suffixes or signatures.")
    wrong = [suffix for suffix in suffixes if not suffix.startswith(".") or suffix != suffix.lower() or suffix == "."]
    claim(not wrong, f"suffixes {wrong} are not in lower case with their dot.")
    claim(all(offset >= 0 and mark for offset, mark in signatures), "a signature is empty or before the first byte.")


def it_claims_the_file_that_it_reads(bench: ReaderBench) -> None:
    """The file's name ends with one of its suffixes, or its first bytes are one of its signatures."""
    known = bench.reader.claimed(bench.file) or bench.reader.recognises(bench.file.read_bytes())
    claim(bool(known), f"{bench.file.name} has none of its suffixes and signatures.")


def an_image_has_the_shape_of_its_geometry(bench: ReaderBench) -> None:
    """The image is (c, *space) in unsigned integers, with two or three axes in space.

    Its geometry is the identity on that space, names the file, and has as many steps and sides as axes where it has
    any; steps are positive.
    """
    image, geometry = bench.image
    axes = image.ndim - 1
    claim(axes in (2, 3) and image.size > 0, f"the image has shape {image.shape}.")
    claim(image.dtype.kind == "u", f"the image is {image.dtype}; allowed: unsigned integers.")
    claim(geometry.native == image.shape[1:], f"the image has shape {image.shape}, its geometry {geometry.native}.")
    claim(np.array_equal(geometry.affine, np.eye(axes + 1)), "the geometry does not map each pixel to itself.")
    claim(geometry.source == str(bench.file), f"the geometry names {geometry.source!r}, not the file.")
    claim(len(geometry.orientation) in (0, axes), f"the orientation is {geometry.orientation!r} for {axes} axes.")
    spacing = geometry.spacing
    fits = spacing is None or (len(spacing) == axes and min(spacing) > 0)
    claim(fits, f"the spacing is {spacing} for {axes} axes.")


def reading_twice_gives_the_same_bits(bench: ReaderBench) -> None:
    """A second reading, by another reader of the same settings, gives the same image to the bit."""
    again, _ = bench.reader.with_().read_image(bench.file)
    claim(np.array_equal(again, bench.image[0]), "the image is another when it is read again.")


def a_mask_lies_on_its_image(bench: ReaderBench) -> None:
    """Read as a mask the file is bool with the image's spatial shape, or is refused with ``DataError``."""
    try:
        mask = bench.reader.read_mask(bench.file)
    except DataError as error:
        raise NotApplicable(f"refuses the file as a mask: {error}") from None
    shape = bench.image[0].shape[1:]
    claim(mask.dtype == bool and mask.shape == shape, f"the mask is {mask.dtype} {mask.shape}, its image {shape}.")


def damaged_foreign_and_absent_files_are_refused(bench: ReaderBench) -> None:
    """A file that was cut off, one of another kind and one that is not there raise ``DataError`` naming the file."""
    content = bench.file.read_bytes()
    for left in [*(content[: int(share * len(content))] for share in SHARES), b"a table, nothing else\n" * 99]:
        with bench.copy(left) as path:
            _claim_refused(bench.reader, path, f"a file of which {len(left)} bytes are left")
    _claim_refused(bench.reader, bench.file.with_name(f"absent {bench.file.name}"), "a file that is not there")


def the_limit_of_pixels_is_judged_before_decoding(bench: ReaderBench) -> None:
    """One pixel more than allowed is refused, in the same words where the second half of the file is missing.

    Try it on a file whose header can be read by itself, such as one that is not compressed.
    """
    image, _ = bench.image
    limit = image[0].size
    claim(np.array_equal(bench.reader.read_image(bench.file, limit)[0], image), f"{limit} pixels are refused as many.")
    content = bench.file.read_bytes()
    with bench.copy(content) as path:
        whole = _claim_refused(bench.reader, path, "an image of one pixel too many", limit - 1)
        path.write_bytes(content[: len(content) // 2])
        half = _claim_refused(bench.reader, path, "half a file of one pixel too many", limit - 1)
    claim(whole == half, f"it decodes first: the file is refused by {whole!r}, its first half by {half!r}.")


LAWS: tuple[Callable[[ReaderBench], None], ...] = (
    it_claims_files_by_name_or_first_bytes,
    it_claims_the_file_that_it_reads,
    an_image_has_the_shape_of_its_geometry,
    reading_twice_gives_the_same_bits,
    a_mask_lies_on_its_image,
    damaged_foreign_and_absent_files_are_refused,
    the_limit_of_pixels_is_judged_before_decoding,
)


def _claim_refused(reader: Reader, path: Path, what: str, limit: int | None = None) -> str:
    """What ``DataError`` says against a file; raises ``Violation`` where there is none, or where it names no file."""
    try:
        reader.read_image(path, *([] if limit is None else [limit]))
    except DataError as error:
        claim(path.name in str(error), f"{what} is refused without its name: {error}")
        return str(error)
    except Exception as error:
        claim(False, f"{what} raises {type(error).__name__} ({error}); raise DataError.")
    claim(False, f"{what} is read; raise DataError.")
    return ""
