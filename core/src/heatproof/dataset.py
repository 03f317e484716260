"""Datasets: images with labels, annotations and patients, read from the layout their authors published."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from .component import Component, P, plain
from .digests import digest, file_digest
from .errors import DataError, near
from .records import Attribute, Sample
from .shell import command


@dataclass(frozen=True)
class Tally:
    """One line of ``heatproof data check``: what was counted, how many, how many there should be, and an example."""

    what: str
    count: int
    expected: int | None = None
    example: str = ""

    def sentence(self, dataset: str) -> str:
        """Put the line into words.

        >>> Tally("masks without an image", 2, example="1.png").sentence("mine")
        'masks without an image in mine: 2, such as 1.png'
        """
        examples = self.example and f", such as {self.example}"
        return f"{self.what} in {dataset}: {self.count}{examples}"


class Dataset(Component[P]):
    """A source of samples. A subclass must implement ``ids`` and ``load``; everything else has a default.

    A subclass replaces a default by a class attribute, in ``__init__``, or by a property that reads its Params.
    """

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that labels refer to; they are matched with a model's classes by name."""
        return ()

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """The findings that are annotated."""
        return ()

    @property
    def readers(self) -> tuple[str, ...] | None:
        """The readers that annotations can name; None if they are known only from the samples."""
        return None

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """Names of the values in ``Sample.extras``."""
        return ()

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes of samples, such as the columns of a table; neither ``label`` nor ``finding``."""
        return ()

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits, in a fixed order."""
        return ("all",)

    @cached_property
    def tuning(self) -> str | None:
        """The split on which open settings (weights, thresholds) are filled."""
        return None

    @cached_property
    def synthetic(self) -> bool:
        """Whether all images are generated, not taken of patients."""
        return False

    @cached_property
    def citation(self) -> str:
        """The publication, recorded in the provenance."""
        return ""

    @cached_property
    def licence(self) -> str:
        """The terms of use."""
        return ""

    @cached_property
    def obtain(self) -> str:
        """Where to download the dataset, for error messages: ``obtain it from …``."""
        return ""

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Patterns of the files that enter the identity by content; other files enter by relative path and size."""
        return ("*.csv", "*.txt", "*.json")

    @abstractmethod
    def ids(self, split: str | None = None) -> list[str]:
        """The ids of a split in a fixed order, or of all splits; unique over all of them."""
        raise NotImplementedError

    @abstractmethod
    def load(self, id: str) -> Sample:
        """One sample at its native size; raises ``DataError`` naming a file that cannot be read."""
        raise NotImplementedError

    def patient(self, id: str) -> str:
        """The patient of a sample, found without decoding it; the sample's id where the patient is unknown."""
        return id

    def attributes_of(self, id: str) -> Mapping[str, Attribute]:
        """The attributes of a sample by name, found without decoding it: text or numbers; unknown ones are left out."""
        return {}

    def root(self) -> Path | None:
        """The folder of the download, None for a dataset without files."""
        return getattr(self.params, "root", None)

    def files(self) -> Iterable[Path]:
        """The absolute paths of the dataset's files."""
        root = self.root()
        return sorted(path for path in root.rglob("*") if path.is_file()) if root else ()

    def files_of(self, id: str) -> Iterable[Path] | None:
        """The files that ``load(id)`` reads, tables apart, found without decoding; None if it may be any of ``files``.

        A unit is computed again, and a sample prepared again, when the content of one of its files has changed.
        """
        return None

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
        """The faulty parts of the download that become no sample; no image is decoded. A strict run refuses them."""
        return []

    def passed_over(self) -> list[Tally]:
        """The files among images and masks that nothing reads; no image is decoded. A run names them when it starts."""
        return []

    def check(self) -> list[Tally]:
        """The number of samples per split, and what is missing or unreadable, against the published counts."""
        return [Tally(f"samples in {split}", len(self.ids(split))) for split in self.splits]

    @property
    def check_command(self) -> str:
        """The command that counts the files of this dataset, for messages; without its name if it is not registered."""
        if not self.registered:
            return command("data", "check")
        settings = self.changed_settings()
        words = [self.registered.rpartition("/")[2]]
        if "root" in settings:
            words += ["--root", str(settings.pop("root"))]
        for name, value in settings.items():
            words += ["--set", f"{name}={json.dumps(plain(value), ensure_ascii=False)}"]
        return command("data", "check", *words)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in this dataset's file layout under ``root``; returns their number."""
        raise DataError(f"{self.short} has no file layout, so its samples cannot be written.")

    def require_split(self, split: str | None) -> None:
        """Raise ``DataError`` when ``split`` is not one of ``splits``."""
        if split is not None and split not in self.splits:
            raise DataError(f"{self.short} has no split {split!r}; {near(split, self.splits)}")
