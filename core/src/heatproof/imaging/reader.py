"""Readers: plugins that read the files of one format, and the choice of the reader of a file."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from ..component import Component, P
from ..errors import DataError, PluginError
from ..records import Array, Geometry
from ..shell import command
from .turning import UPRIGHT
from .window import Window, seen_through

if TYPE_CHECKING:
    from ..registry.catalog import Catalog, Registration

MAX_PIXELS = 150_000_000
"""Larger images are refused before they are decoded, since a small file may declare any size."""
PREFERRED = "HEATPROOF_READERS"
"""The environment variable that lists the preferred readers, separated by commas."""
CORE = "heatproof"  # the distribution of the core's own readers
DISTRIBUTIONS = {
    ".dcm": "heatproof-dicom", ".dicom": "heatproof-dicom", ".nii": "heatproof-nifti", ".nii.gz": "heatproof-nifti"
}  # fmt: skip
"""Suffix → the distribution that reads it, for suffixes that the core does not read."""


class Reader(Component[P]):
    """Reads the files of one format. A subclass must implement ``read_image`` and set ``suffixes`` or ``signatures``.

    The modules of all readers are imported before the first file is read, so import decoding libraries on first use.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of the files that it reads, in lower case and with the dot: ``.nii.gz``."""
    signatures: ClassVar[tuple[tuple[int, bytes], ...]] = ()
    """First bytes (offset, bytes) of its files, which decide when no reader claims the suffix."""
    folders: ClassVar[bool] = False
    """Whether it also reads a folder of its files as one volume."""

    @abstractmethod
    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image (c, h, w) or volume (c, d, h, w), larger being brighter, and its geometry.

        Values are unsigned integers if the format knows its white, or else the file's own: integers or finite floats.
        The geometry holds spacing in mm, orientation, and the EXIF orientation that was applied, if the file has them.
        Raises ``DataError`` for a file that cannot be used, and, before decoding, for one with more than ``max_pixels``
        pixels or voxels.
        """
        raise NotImplementedError

    def read_through(self, path: Path, window: Window, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image like ``read_image`` seen through a window (``heatproof.imaging.window``), and its geometry.

        A reader overrides it if its files name a window, or if ``read_image`` does not return the file's own values.
        """
        image, geometry = self.read_image(path, max_pixels)
        return seen_through(image, window, path), geometry

    def exif(self, path: Path) -> int:
        """The EXIF orientation that ``read_image`` and ``read_mask`` apply; 1 for none."""
        return UPRIGHT

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """A mask (*space) bool: true where a colour or value is above zero; raises the errors of ``read_image``."""
        raise DataError(f"{path} cannot be a mask, since {self.name} reads no masks; save the mask as PNG or TIFF.")

    @classmethod
    def claimed(cls, path: Path) -> str:
        """The longest of its suffixes that a file name has, in lower or upper case; empty if it has none of them."""
        name = path.name.lower()
        return max((suffix for suffix in cls.suffixes if name.endswith(suffix)), key=len, default="")

    @classmethod
    def recognises(cls, start: bytes) -> bool:
        """Whether the first bytes of a file have one of its signatures."""
        return any(start[offset : offset + len(signature)] == signature for offset, signature in cls.signatures)


class Candidate(NamedTuple):
    """An installed reader: its entry in the catalog and its class."""

    entry: "Registration"
    reader: type[Reader]


def reader_of(path: Path) -> Reader:
    """The reader of a file; the reader of a folder is that of the first file in it that a reader of folders claims.

    The longest suffix that a reader claims decides; without one, the first bytes do. Of several readers the first in
    ``HEATPROOF_READERS`` is used; by default, a plugin's reader goes before the core's. Raises ``DataError`` for a file
    that no reader claims, ``PluginError`` for one that several plugins claim.
    """
    candidates = registered()
    files = [path]
    if path.is_dir():
        candidates = [candidate for candidate in candidates if candidate.reader.folders]
        files = sorted(file for file in path.iterdir() if file.is_file())
    for file in files:
        if matches := _matches(file, candidates):
            preferred = _preferred(path, matches)
            reader = preferred.reader()
            reader.registered = preferred.entry.full
            return reader
    raise _unclaimed(path, candidates)


def readable_suffixes() -> tuple[str, ...]:
    """The suffixes of all files that an installed reader reads, the longest first."""
    suffixes = {suffix for _, reader in registered() for suffix in reader.suffixes}
    return tuple(sorted(suffixes, key=lambda suffix: (-len(suffix), suffix)))


def registered() -> Sequence[Candidate]:
    """Every installed reader, except broken ones, which ``heatproof list`` names."""
    from ..registry import catalog

    return _loaded(catalog.default())


@lru_cache(maxsize=1)
def _loaded(catalog: "Catalog") -> Sequence[Candidate]:
    candidates = []
    for entry in catalog.entries:
        if entry.kind == "reader":
            with suppress(PluginError):
                candidates.append(Candidate(entry, cast(type[Reader], catalog.load(entry))))
    return candidates


def _matches(path: Path, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The readers that claim a file, all by the same suffix or else by its first bytes."""
    suffix = max((reader.claimed(path) for _, reader in candidates), key=len, default="")
    if suffix:
        return [candidate for candidate in candidates if candidate.reader.claimed(path) == suffix]
    if not path.is_file():
        return []
    start = _first_bytes(path, candidates)
    return [candidate for candidate in candidates if candidate.reader.recognises(start)]


def _first_bytes(path: Path, candidates: Sequence[Candidate]) -> bytes:
    """The first bytes of a file, up to the end of the last signature."""
    ends = [offset + len(signature) for _, reader in candidates for offset, signature in reader.signatures]
    try:
        with open(path, "rb") as stream:
            return stream.read(max(ends, default=0))
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from None


def _preferred(path: Path, matches: Sequence[Candidate]) -> Candidate:
    """The preferred reader of those that claim a file; raises ``PluginError`` if several are equally preferred."""
    for name in os.environ.get(PREFERRED, "").split(","):
        for match in matches:
            if name.strip() in (match.entry.name, match.entry.full):
                return match
    remaining = [match for match in matches if match.entry.distribution != CORE] or matches
    if len(remaining) > 1:
        names = [match.entry.full for match in remaining]
        raise PluginError(
            f"{path} is claimed by the readers {' and '.join(names)}; set the environment variable {PREFERRED} to the "
            f"name of the one to use, such as {names[0]}, or uninstall the others."
        )
    return remaining[0]


def _unclaimed(path: Path, candidates: Sequence[Candidate]) -> DataError:
    """The error for a file that no reader claims; it names the distribution that would read it."""
    if not path.exists():
        return DataError(f"{path} does not exist; download it, or correct the path.")
    if path.is_dir():
        return DataError(
            f"{path} is a folder that no installed reader can read as a volume; give a file, or install the reader of "
            f"its files, such as {DISTRIBUTIONS['.dcm']} for slices of CT."
        )
    for suffix, distribution in DISTRIBUTIONS.items():
        if path.name.lower().endswith(suffix):
            return DataError(
                f"{path} has no reader; install {distribution}, which reads {suffix}, or repair it if "
                f"`{command('list')}` names it as broken."
            )
    allowed = sorted({suffix for _, reader in candidates for suffix in reader.suffixes} | DISTRIBUTIONS.keys())
    return DataError(f"{path} has a format that no installed reader reads; allowed: {', '.join(allowed)}.")
