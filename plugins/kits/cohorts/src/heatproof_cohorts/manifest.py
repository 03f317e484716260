"""The base class of datasets whose samples are listed by a table or by folders."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypeVar

from heatproof.component import Location, Params
from heatproof.dataset import Dataset, Tally
from heatproof.digests import digest, file_digest
from heatproof.errors import DataError, near
from heatproof.imaging.images import READERS, read_image
from heatproof.imaging.window import Window
from heatproof.records import Annotation, Attribute, Geometry, Label, Sample
from heatproof_cohorts.attributes import agreed
from heatproof_cohorts.contents import Contents
from heatproof_cohorts.tables import form_of

ABSENT = "images that are absent"


@dataclass(frozen=True)
class ListedSample:
    """One listed sample: image, split, label, patient, extras, attributes, and the source (file, line) of the entry."""

    path: Path
    split: str
    label: Label = None
    patient: str = ""
    source: str = field(default="", compare=False)
    extras: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Listing:
    """The samples by id, and a sentence for each rejected entry (``faults``) and each entry ``unused`` by choice.

    ``tables`` are the files with the entries, ``passed_over`` files among images or masks that nothing reads.
    """

    entries: Mapping[str, ListedSample]
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tables: Sequence[Path] = ()
    passed_over: Sequence[Path] = ()


class ListedParams(Params):
    """The folder of the download, and whether a missing image fails when it is loaded or is skipped."""

    root: Location
    absent: Literal["fail", "skip"] = "fail"


P = TypeVar("P", bound=ListedParams, default=ListedParams, covariant=True)


class ListedDataset(Dataset[P]):
    """A dataset that reads its list of samples once, and rejects and counts faulty entries.

    A subclass implements ``listed``.
    """

    @cached_property
    def published(self) -> Mapping[str, int]:
        """The counts that the authors state, by the names that ``check`` uses."""
        return {}

    @abstractmethod
    def listed(self) -> Listing:
        """Read the list under root; raises ``DataError`` where there is none."""
        raise NotImplementedError

    @property
    def window(self) -> Window:
        """The window through which images are read."""
        return "type"

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """Read the annotations of an image by its geometry; raises ``DataError`` naming a file that does not fit."""
        return ()

    def marks(self, id: str) -> Iterable[Path]:
        """The files, apart from tables, that annotate an image."""
        return ()

    @cached_property
    def listing(self) -> Listing:
        """The list, without missing images where the settings skip them."""
        listing = self.listed()
        if self.params.absent == "fail":
            return listing
        present = {id: entry for id, entry in listing.entries.items() if entry.path.is_file()}
        absent = [str(entry.path) for id, entry in listing.entries.items() if id not in present]
        return replace(listing, entries=present, unused={**listing.unused, ABSENT: absent})

    def entry(self, id: str) -> ListedSample:
        """The list's entry of an id; raises ``DataError`` where there is none."""
        if id not in self.listing.entries:
            raise DataError(f"{self.short} under {self.params.root} has no {id!r}; {near(id, self.listing.entries)}")
        return self.listing.entries[id]

    def ids(self, split: str | None = None) -> list[str]:
        """The ids in the order of the list."""
        self.require_split(split)
        return [id for id, entry in self.listing.entries.items() if split in (None, entry.split)]

    def patient(self, id: str) -> str:
        """The patient of a sample, or its id where the list names no patient."""
        return self.entry(id).patient or id

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of all attributes that the list gives to a sample."""
        return tuple(dict.fromkeys(chain.from_iterable(entry.attributes for entry in self.listing.entries.values())))

    def attributes_of(self, id: str) -> Mapping[str, Attribute]:
        """The attributes that the list gives to a sample."""
        return self.entry(id).attributes

    def files(self) -> Iterable[Path]:
        """The tables, the listed images that exist, and their annotations."""
        paths = [entry.path for entry in self.listing.entries.values() if entry.path.is_file()]
        marks = chain.from_iterable(map(self.marks, self.listing.entries))
        return [*self.listing.tables, *dict.fromkeys(paths), *marks]

    def files_of(self, id: str) -> Iterable[Path]:
        """The image and its annotations."""
        return [self.entry(id).path, *self.marks(id)]

    def content(self) -> str:
        """The digest of the files and of the contents of the tables, whose names do not count."""
        return digest([super().content(), [file_digest(path) for path in self.listing.tables]])

    def load(self, id: str) -> Sample:
        """Load an image (c, h, w) through the window, with its label, patient, annotations and extras."""
        entry = self.entry(id)
        image, geometry = read_image(entry.path, window=self.window)
        annotations = self.annotations(id, geometry)
        return Sample(id, image, annotations, entry.label, self.patient(id), geometry, extras=entry.extras)

    @property
    def multilabel(self) -> bool:
        """Whether the list gives several labels to a sample."""
        return any(isinstance(entry.label, tuple) for entry in self.listing.entries.values())

    def rejected(self) -> list[Tally]:
        """Count the faulty entries and the missing images."""
        return [tally for tally in self._tallies(self._faults(), expected=0) if tally.count]

    def passed_over(self) -> list[Tally]:
        """Count the files among images and masks that nothing reads, by suffix."""
        kinds: dict[str, list[str]] = {}
        for path in self.listing.passed_over:
            kinds.setdefault(path.suffix.lower() or "no suffix", []).append(str(path))
        return [Tally(f"files passed over ({kind})", len(paths), None, paths[0]) for kind, paths in kinds.items()]

    def check(self) -> list[Tally]:
        """Compare with the published counts; count what is unused, passed over, faulty, missing or cannot be loaded."""
        contents = Contents()
        faults = self._faults() | {"unreadable samples": self._unreadable(contents)}
        remarks = {**self.listing.unused, **self._forms()}
        return [
            *(Tally(name, count, self.published.get(name)) for name, count in self._counts().items()),
            *self._tallies(remarks, expected=None),
            *self.passed_over(),
            *contents.tallies(),
            *self._tallies(faults, expected=0),
        ]

    def _faults(self) -> dict[str, Sequence[str]]:
        missing = [entry.path for entry in self.listing.entries.values() if not entry.path.is_file()]
        return {**self.listing.faults, "missing images": [f"{path}; {self.obtain}" for path in missing]}

    def _forms(self) -> dict[str, list[str]]:
        """The tables with a byte order mark, with semicolons, or in another encoding than UTF-8, by what they have."""
        tables: dict[str, list[str]] = {}
        for path in (path for path in self.listing.tables if path.suffix.lower() != ".json"):
            for form in form_of(path):
                tables.setdefault(f"tables with {form}", []).append(str(path))
        return tables

    def _tallies(self, messages: Mapping[str, Sequence[str]], expected: int | None) -> list[Tally]:
        """Count the messages by name, with the first one as the example."""
        return [
            Tally(name, len(examples), self.published.get(name, expected), *examples[:1])
            for name, examples in messages.items()
        ]

    def _counts(self) -> dict[str, int]:
        entries = self.listing.entries.values()
        classes: Counter[str] = Counter()
        for entry in entries:
            classes.update(self.classes[index] for index in _indices(entry.label))
        splits = Counter(entry.split for entry in entries)
        unlabelled = sum(entry.label is None for entry in entries)
        return {
            "samples": len(entries),
            "patients": len({self.patient(id) for id in self.listing.entries}),
            **{f"samples of {name}": classes[name] for name in self.classes},
            **({"samples without a label": unlabelled} if classes and unlabelled else {}),
            **{f"samples in {split}": splits[split] for split in self.splits},
        }

    def _unreadable(self, contents: Contents) -> list[str]:
        """Load every sample whose image exists into ``contents``, and collect the messages of those that fail."""
        ids = [id for id, entry in self.listing.entries.items() if entry.path.is_file()]
        inspect = partial(self._error, contents=contents)
        # The first sample is loaded alone: it fills what the dataset reads once for all samples.
        errors = [*map(inspect, ids[:1])]
        with ThreadPoolExecutor(READERS, "heatproof-reader") as pool:
            errors += pool.map(inspect, ids[1:])
        return [error for error in errors if error]

    def _error(self, id: str, contents: Contents) -> str:
        """The message of ``load``, empty where it succeeds."""
        try:
            contents.add(self.load(id))
        except DataError as error:
            return str(error)
        except Exception as error:
            return f"{id} cannot be loaded ({type(error).__name__}: {error})"
        return ""

    def class_to_write(self, sample: Sample) -> int:
        """The class under which a sample is written: its label, but at most the last class.

        This lets samples of a dataset with more classes make a synthetic twin. Raises ``DataError`` unless the sample
        has one label.
        """
        if not isinstance(sample.label, int) or sample.label < 0:
            raise DataError(f"{self.short} needs one class index as the label of {sample.id} (got {sample.label}).")
        return min(sample.label, len(self.classes) - 1)

    def name_to_write(self, sample: Sample) -> str:
        """The sample's id as a file name; raises ``DataError`` for an id with slashes."""
        if Path(sample.id).name != sample.id or "\\" in sample.id:
            raise DataError(f"{sample.id!r} cannot be the name of a file in {self.short}; give ids without slashes.")
        return sample.id

    def split_to_write(self, sample: Sample) -> str:
        """The split named by ``extras["split"]``, by default the first one."""
        split = str(sample.extras.get("split", self.splits[0]))
        self.require_split(split)
        return split


def gathered(candidates: Iterable[tuple[str, ListedSample]]) -> tuple[dict[str, ListedSample], dict[str, list[str]]]:
    """Collect samples by id and reject those listed twice, with two meanings, or of a patient in two splits.

    Returns the samples by id, and a sentence for each fault by its name. A sample keeps the attributes on which all of
    its rows agree.
    """
    entries: dict[str, ListedSample] = {}
    repeated: list[str] = []
    ambiguous: dict[str, str] = {}
    for id, entry in candidates:
        first = entries.setdefault(id, entry)
        if first.attributes != entry.attributes:
            entries[id] = replace(first, attributes=agreed(first.attributes, entry.attributes))
        if first != entry:
            ambiguous[id] = f"{id}: {first.source} and {entry.source} differ; keep the right one"
        elif first is not entry:
            repeated.append(f"{id}: {first.source} and {entry.source}")
    divided = _divided_patients(entries)
    samples = {id: entry for id, entry in entries.items() if id not in ambiguous and entry.patient not in divided}
    faults = {
        "samples listed twice": repeated,
        "ids with two meanings": [*ambiguous.values()],
        "patients in two splits": [f"{patient}: {', '.join(splits)}" for patient, splits in divided.items()],
    }
    return samples, faults


def require_new(root: Path) -> None:
    """Raise ``DataError`` unless a folder to write to is new or empty."""
    if root.exists() and any(root.iterdir()):
        raise DataError(f"{root} is not empty; give a new folder, so that no download is overwritten.")


def _divided_patients(entries: Mapping[str, ListedSample]) -> dict[str, list[str]]:
    """The patients in more than one split → these splits."""
    splits: dict[str, set[str]] = {}
    for entry in entries.values():
        if entry.patient:
            splits.setdefault(entry.patient, set()).add(entry.split)
    return {patient: sorted(parts) for patient, parts in splits.items() if len(parts) > 1}


def _indices(label: Label) -> tuple[int, ...]:
    if label is None:
        return ()
    if isinstance(label, tuple):
        return label
    return (label,)
