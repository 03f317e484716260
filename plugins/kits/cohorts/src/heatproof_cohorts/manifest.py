"""Datasets whose samples a table or folders list: what they share once the list is read."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypeVar

from heatproof.component import Location, Params
from heatproof.dataset import Dataset, Tally
from heatproof.digests import digest, file_digest
from heatproof.errors import DataError, near
from heatproof.imaging.images import READERS, read_image
from heatproof.records import Annotation, Label, Sample

ABSENT = "images that are absent"


@dataclass(frozen=True)
class ListedSample:
    """One sample as it is listed: image, split, label, patient, extras, and the source (file, line) that says so."""

    path: Path
    split: str
    label: Label = None
    patient: str = ""
    source: str = field(default="", compare=False)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The samples by id, and a sentence for each that is not among them: ``faults``, and those ``unused`` by choice.

    ``tables`` are the files that list them.
    """

    entries: Mapping[str, ListedSample]
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tables: Sequence[Path] = ()


class ListedParams(Params):
    """Where the download lies, and whether images that are absent fail, each by itself, or are skipped."""

    root: Location
    absent: Literal["fail", "skip"] = "fail"


P = TypeVar("P", bound=ListedParams, default=ListedParams, covariant=True)


class ListedDataset(Dataset[P]):
    """A dataset that reads its list once, leaves out what cannot be meant, and counts it.

    A subclass gives ``listed``.
    """

    @cached_property
    def published(self) -> Mapping[str, int]:
        """The counts of ``check`` that the authors state."""
        return {}

    @abstractmethod
    def listed(self) -> Listing:
        """The list under root; raises ``DataError`` where there is none."""
        raise NotImplementedError

    def annotations(self, id: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """The annotations of an image (h, w); raises ``DataError`` naming the file that does not fit."""
        return ()

    def marks(self) -> Iterable[Path]:
        """The files that annotate listed images."""
        return ()

    @cached_property
    def listing(self) -> Listing:
        """The list, without absent images where they are to be skipped."""
        listing = self.listed()
        if self.params.absent == "fail":
            return listing
        here = {id: entry for id, entry in listing.entries.items() if entry.path.is_file()}
        absent = [str(entry.path) for id, entry in listing.entries.items() if id not in here]
        return Listing(here, listing.faults, {**listing.unused, ABSENT: absent}, listing.tables)

    def entry(self, id: str) -> ListedSample:
        """What is listed under an id; raises ``DataError`` when nothing is."""
        if id not in self.listing.entries:
            raise DataError(f"{self.short} under {self.params.root} has no {id!r}; {near(id, self.listing.entries)}")
        return self.listing.entries[id]

    def ids(self, split: str | None = None) -> list[str]:
        """The ids in the order of the list."""
        self.require_split(split)
        return [id for id, entry in self.listing.entries.items() if split in (None, entry.split)]

    def patient(self, id: str) -> str:
        """The patient, or the id where the list names none."""
        return self.entry(id).patient or id

    def files(self) -> Iterable[Path]:
        """The tables, the listed images that are there, and their annotations."""
        paths = [entry.path for entry in self.listing.entries.values() if entry.path.is_file()]
        return [*self.listing.tables, *dict.fromkeys(paths), *self.marks()]

    def content(self) -> str:
        """The digest of the files, and of the bytes of the tables, whatever they are called."""
        return digest([super().content(), [file_digest(path) for path in self.listing.tables]])

    def load(self, id: str) -> Sample:
        """One image (c, h, w) as stored, with its label, patient, annotations and extras."""
        entry = self.entry(id)
        image, geometry = read_image(entry.path)
        annotations = self.annotations(id, geometry.native)
        return Sample(id, image, annotations, entry.label, self.patient(id), geometry, extras=entry.extras)

    @property
    def multilabel(self) -> bool:
        """Whether the list gives several labels to a sample."""
        return any(isinstance(entry.label, tuple) for entry in self.listing.entries.values())

    def rejected(self) -> list[Tally]:
        """What is wrong with the list, and images that are missing."""
        return [found for found in self._found(self._faults()) if found.count]

    def check(self) -> list[Tally]:
        """Counts against the published ones, what was left out, what is missing, and what cannot be loaded."""
        chosen = self.listing.unused
        return [
            *(Tally(what, count, self.published.get(what)) for what, count in self._counts().items()),
            *(Tally(what, len(cases), self.published.get(what), *cases[:1]) for what, cases in chosen.items()),
            *self._found(self._faults() | {"unreadable samples": self._unreadable()}),
        ]

    def _faults(self) -> dict[str, Sequence[str]]:
        missing = [entry.path for entry in self.listing.entries.values() if not entry.path.is_file()]
        return {**self.listing.faults, "missing images": [f"{path}; {self.obtain}" for path in missing]}

    def _found(self, faults: Mapping[str, Sequence[str]]) -> list[Tally]:
        return [Tally(what, len(cases), self.published.get(what, 0), *cases[:1]) for what, cases in faults.items()]

    def _counts(self) -> dict[str, int]:
        entries = self.listing.entries.values()
        classes = Counter(self.classes[index] for entry in entries for index in _indices(entry.label))
        splits = Counter(entry.split for entry in entries)
        return {
            "samples": len(entries),
            "patients": len({self.patient(id) for id in self.listing.entries}),
            **{f"samples of {name}": classes[name] for name in self.classes},
            **{f"samples in {split}": splits[split] for split in self.splits},
        }

    def _unreadable(self) -> list[str]:
        """What ``load`` says against the samples whose images are there; it decodes every one of them."""
        here = [id for id, entry in self.listing.entries.items() if entry.path.is_file()]
        # The first by itself, so that what a dataset reads once is read once.
        found = [*map(self._complaint, here[:1])]
        with ThreadPoolExecutor(READERS, "heatproof-reader") as pool:
            found += pool.map(self._complaint, here[1:])
        return [complaint for complaint in found if complaint]

    def _complaint(self, id: str) -> str:
        try:
            self.load(id)
        except DataError as error:
            return str(error)
        return ""

    def class_to_write(self, sample: Sample) -> int:
        """The class under which a sample is written: its label, or the last class for labels beyond it.

        So samples of a dataset with more classes make a synthetic twin; raises ``DataError`` unless there is one label.
        """
        if not isinstance(sample.label, int) or sample.label < 0:
            raise DataError(f"{sample.id} has label {sample.label}; {self.short} can only hold one class, as an index.")
        return min(sample.label, len(self.classes) - 1)

    def name_to_write(self, sample: Sample) -> str:
        """The sample's id, as the name of a file; raises ``DataError`` where it cannot be one."""
        if Path(sample.id).name != sample.id or "\\" in sample.id:
            raise DataError(f"{sample.id!r} cannot be the name of a file in {self.short}; give ids without slashes.")
        return sample.id

    def split_to_write(self, sample: Sample) -> str:
        """The split that ``extras["split"]`` names, the first one where it is not set."""
        split = str(sample.extras.get("split", self.splits[0]))
        self.require_split(split)
        return split


def gathered(candidates: Iterable[tuple[str, ListedSample]]) -> tuple[dict[str, ListedSample], dict[str, list[str]]]:
    """The samples by id, and what is wrong with the others: given twice, with two meanings, or of a divided patient."""
    entries: dict[str, ListedSample] = {}
    twice: list[str] = []
    torn: dict[str, str] = {}
    for id, entry in candidates:
        first = entries.setdefault(id, entry)
        if first != entry:
            torn[id] = f"{id}: {first.source} and {entry.source} differ; keep the right one"
        elif first is not entry:
            twice.append(f"{id}: {first.source} and {entry.source}")
    divided = _divided(entries)
    kept = {id: entry for id, entry in entries.items() if id not in torn and entry.patient not in divided}
    found = {
        "samples listed twice": twice,
        "ids with two meanings": [*torn.values()],
        "patients in two splits": [f"{patient}: {', '.join(splits)}" for patient, splits in divided.items()],
    }
    return kept, found


def require_new(root: Path) -> None:
    """Raise ``DataError`` where a folder to write to holds something."""
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root} is not empty; give a new folder, so that no download is overwritten.")


def _divided(entries: Mapping[str, ListedSample]) -> dict[str, list[str]]:
    """The patients that are in more than one split, and in which."""
    splits: dict[str, set[str]] = {}
    for entry in entries.values():
        if entry.patient:
            splits.setdefault(entry.patient, set()).add(entry.split)
    return {patient: sorted(parts) for patient, parts in splits.items() if len(parts) > 1}


def _indices(label: Label) -> tuple[int, ...]:
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)
