"""Datasets: images with labels, annotations and patients, read from the layout their authors published."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from .component import Component, P
from .digests import digest, file_digest
from .errors import DataError, near
from .records import Sample


@dataclass(frozen=True)
class Tally:
    """One thing that ``heatproof data check`` has to say about a download: what, how many, and an example."""

    what: str
    count: int
    expected: int | None = None
    example: str = ""


class Dataset(Component[P]):
    """A source of samples. A subclass must implement ``ids`` and ``load``; the rest has defaults.

    What it has by default it may also name as a class attribute, set in ``__init__``, or derive from its Params as a
    property.
    """

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """What a sample may be labelled as; it meets a model's classes by name."""
        return ()

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """What its annotations may be of."""
        return ()

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """Names of the values in ``Sample.extras``."""
        return ()

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The parts, in a fixed order."""
        return ("all",)

    @cached_property
    def tuning(self) -> str | None:
        """The split on which open Params (weights, thresholds) are filled."""
        return None

    @cached_property
    def synthetic(self) -> bool:
        """Whether no image comes from a person."""
        return False

    @cached_property
    def citation(self) -> str:
        """The publication, kept in the provenance."""
        return ""

    @cached_property
    def licence(self) -> str:
        """The terms of use."""
        return ""

    @cached_property
    def obtain(self) -> str:
        """Where what is missing is found, as a request: ``obtain it from …``."""
        return ""

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """File name patterns that enter the identity by content; other files by relative path and size."""
        return ("*.csv", "*.txt", "*.json")

    @abstractmethod
    def ids(self, split: str | None = None) -> list[str]:
        """The ids of a split in a fixed order, or of all splits; unique over all of them."""
        raise NotImplementedError

    @abstractmethod
    def load(self, id: str) -> Sample:
        """One sample at its native size; raises ``DataError`` naming the file when it cannot be read."""
        raise NotImplementedError

    def patient(self, id: str) -> str:
        """The patient of a sample, known without decoding it; the id itself where the patient is unknown."""
        return id

    def root(self) -> Path | None:
        """The folder of the download, None for a dataset without files."""
        return getattr(self.params, "root", None)

    def files(self) -> Iterable[Path]:
        """The files that belong to the dataset, absolute."""
        root = self.root()
        return sorted(path for path in root.rglob("*") if path.is_file()) if root else ()

    def content(self) -> str:
        """The digest of tables (content) and other files (relative path and size)."""
        root = self.root()
        if root is None:
            return ""
        return digest([self._entry(root, path) for path in self.files()])

    def _entry(self, root: Path, path: Path) -> list[str | int]:
        table = any(fnmatch(path.name, pattern) for pattern in self.tables)
        return [path.relative_to(root).as_posix(), file_digest(path) if table else path.stat().st_size]

    @property
    def multilabel(self) -> bool:
        """Whether a sample may have several labels at once."""
        return False

    def rejected(self) -> list[Tally]:
        """What of the download is no sample, or cannot become one, because something is wrong with it.

        Every run counts it, a strict one refuses it; no image is decoded to find it.
        """
        return []

    def check(self) -> list[Tally]:
        """What is there, missing or unreadable, against the published counts."""
        return [Tally(f"samples in {split}", len(self.ids(split))) for split in self.splits]

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in this dataset's own layout under ``root``; the number written."""
        raise DataError(f"{self.short} has no layout to write; only datasets on files have one.")

    def require_split(self, split: str | None) -> None:
        """Raise ``DataError`` when ``split`` is not one of ``splits``."""
        if split is not None and split not in self.splits:
            raise DataError(f"{self.short} has no split {split!r}; {near(split, self.splits)}")
