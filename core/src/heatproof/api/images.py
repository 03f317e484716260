"""The dataset of a caller's own images, which live in memory or in files."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from ..component import Params, plain
from ..dataset import Dataset
from ..digests import digest
from ..errors import DataError
from ..imaging.window import Window
from ..records import AnnotationKind, Label, Sample
from .annotations import RawAnnotations, annotation, by_image, is_alone, listed
from .items import Item, TorchItems, items_of
from .labels import labels_of
from .layout import Form, Meaning, Range, array_of, layout_of, with_white

KINDS: Mapping[str, AnnotationKind] = {"masks": "mask", "boxes": "box", "densities": "density"}
"""What callers name → the kind of annotation."""
READINGS = 32
"""How many images of a torch dataset are read once more before a run, to find random transforms."""


@dataclass(frozen=True)
class Facts:
    """What was learnt of one sample: its digest, its label, its findings and its files.

    Of an image in memory also the range of its values and its layout in words.
    """

    digest: str
    label: Any
    findings: tuple[str, ...]
    files: tuple[Path, ...]
    range: Range | None = None
    layout: str = ""
    unclear: bool = False
    annotated: bool = False


@dataclass(frozen=True)
class Collection:
    """Images of a caller with all that is known about them."""

    name: str
    items: Sequence[Item]
    facts: tuple[Facts, ...]
    ids: tuple[str, ...]
    form: Form
    annotations: tuple[RawAnnotations, ...]
    labels: tuple[Any, ...]
    patients: tuple[str, ...]
    window: Window | None = None
    """The values that become black and white; None for those of the type."""

    @cached_property
    def range(self) -> Range | None:
        """The range of all images in memory; None if there are none."""
        ranges = [facts.range for facts in self.facts if facts.range]
        return Range.over(ranges) if ranges else None

    @property
    def meaning(self) -> Meaning:
        """What the values of the images mean; files have a black and a white."""
        return self.range.meaning if self.range else "image"

    @property
    def words(self) -> str:
        """How the images are read, in words."""
        layouts = sorted({facts.layout for facts in self.facts} - {""})
        values = {"image": "from black to white", "bytes": "from 0 to 255", "prepared": "as a network takes them"}
        words = " and ".join([*layouts, f"values {values[self.meaning]}"])
        if self.range and self.range.kinds == {"u"} and self.range.high < self.range.white / 4:
            words += f"; their largest value is {self.range.high:g}, where white is {self.range.white:g}"
        return words

    @property
    def raw(self) -> bool:
        """Whether no network takes the values, as those of files and of bytes."""
        in_files = any(facts.range is None for facts in self.facts)
        return in_files or self.range is None or bool(self.range.kinds - {"f"})

    def sample(self, index: int) -> Sample:
        """An image without its label; raises ``DataError`` if it has changed since, or cannot be used."""
        item = self.unchanged(index)
        name = f"image {self.ids[index]}"
        image, geometry = item.pixels(self.form, name, self.window)
        raw = (*item.annotations, *self.annotations[index])
        annotations = tuple(annotation(*entry, geometry, name) for entry in raw)
        image = with_white(image, self.meaning)
        return Sample(self.ids[index], image, annotations, None, self.patients[index], geometry)

    def unchanged(self, index: int) -> Item:
        """What its owner gives for an image; raises ``DataError`` if it is not what it was."""
        item = self.items[index]
        id = self.ids[index]
        if item.digest(self.annotations[index]) != self.facts[index].digest:
            raise DataError(
                f"image {id} is not what it was when the run was planned: it was changed in memory, or the dataset "
                "gives another image each time; take random transforms out of it."
            )
        return item


class GivenImagesParams(Params):
    """The images, and the classes that their labels refer to."""

    collection: Collection
    classes: tuple[str, ...]


class GivenImages(Dataset[GivenImagesParams]):
    """Images of a caller: arrays, tensors, files, or the samples of a torch dataset."""

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of the model."""
        return self.params.classes

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """The findings that are annotated, in order of their first annotation."""
        return tuple(dict.fromkeys(name for facts in self.params.collection.facts for name in facts.findings))

    @property
    def short(self) -> str:
        """The name that the caller gave."""
        return self.params.collection.name

    @property
    def multilabel(self) -> bool:
        """Whether some image has several labels at once."""
        return any(isinstance(label, tuple) for label in self._labels)

    @cached_property
    def _labels(self) -> tuple[Label, ...]:
        return labels_of(self.params.collection.labels, self.classes)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {id: index for index, id in enumerate(self.params.collection.ids)}

    def ids(self, split: str | None = None) -> list[str]:
        """The ids in the order of the images."""
        return list(self.params.collection.ids)

    def load(self, id: str) -> Sample:
        """One image at its native size; raises ``DataError`` if it, or an annotation, cannot be used."""
        index = self._positions[id]
        return replace(self.params.collection.sample(index), label=self._labels[index])

    def patient(self, id: str) -> str:
        """The patient of an image; the image itself where the caller names none."""
        return self.params.collection.patients[self._positions[id]]

    def files_of(self, id: str) -> Iterable[Path]:
        """The files of an image and its annotations; none for what lies in memory."""
        return self.params.collection.facts[self._positions[id]].files

    def content(self) -> str:
        """The digest of all that lies in memory, with ids, labels and patients."""
        collection = self.params.collection
        labels = [list(label) if isinstance(label, tuple) else label for label in self._labels]
        digests = [facts.digest for facts in collection.facts]
        parts: list[Any] = [collection.ids, collection.meaning, digests, labels, collection.patients]
        if collection.window is not None:
            parts.append(collection.window)
        return digest(parts)

    def describe(self) -> dict[str, Any]:
        """The name, the number of images and their digest; the images themselves cannot be written."""
        settings = {"name": self.short, "images": len(self.ids()), "values": self.params.collection.meaning}
        if self.params.collection.window is not None:
            settings["window"] = plain(self.params.collection.window)
        return {"use": self.name, **settings, "classes": list(self.classes), "content": self.content()}

    def changed_settings(self) -> dict[str, Any]:
        """No settings, as images cannot be written into a label."""
        return {}

    def _identity_params(self) -> dict[str, Any]:
        return {"name": self.short, "classes": list(self.classes)}


def collected(
    images: Any, form: Form, name: str, ids: Iterable[Any] | None, labels: Any, patients: Any,
    by_kind: Mapping[str, Any], window: Window | None = None,
) -> Collection:  # fmt: skip
    """The images of a caller, each looked at once; ``by_kind`` holds the masks, boxes and densities.

    Raises ``DataError`` for what cannot be used, before anything runs.
    """
    items = items_of(images, form, _count(form.axes, labels, patients, *by_kind.values()))
    count = len(items)
    if not count:
        raise DataError("there are no images; give one or more.")
    annotations: list[RawAnnotations] = [()] * count
    for kind, values in by_kind.items():
        if values is not None:
            more = by_image(values, KINDS[kind], count, form.axes)
            annotations = [(*earlier, *later) for earlier, later in zip(annotations, more)]
    names = _ids(items, ids)
    facts = tuple(
        _facts(item, annotations[index], form, f"image {names[index]}", window) for index, item in enumerate(items)
    )
    _require_clear(facts, labels, by_kind)
    all_labels = [entry.label for entry in facts] if labels is None else listed(labels, "labels", count)
    known = [None] * count if patients is None else texts(patients, "patients", count)
    all_patients = [name if patient is None else patient for name, patient in zip(names, known)]
    collection = Collection(
        name, items, facts, names, form, tuple(annotations), tuple(all_labels), tuple(all_patients), window
    )
    if isinstance(items, TorchItems):
        for index in _repeated(count):
            collection.unchanged(index)
    return collection


def _repeated(count: int) -> list[int]:
    """The indices that are read once more before a run: ``READINGS`` of them, spread over all, or some several times.

    A transform that leaves half of the images alone passes with a probability of 2⁻³².
    """
    return [number * count // READINGS if count > READINGS else number % count for number in range(READINGS)]


def _require_clear(facts: Sequence[Facts], labels: Any, by_kind: Mapping[str, Any]) -> None:
    """Raise ``DataError`` for samples that do not tell their label, and for masks that are given twice."""
    if labels is None and any(entry.unclear for entry in facts):
        raise DataError("a sample of the dataset has several values that could be its label; give labels=.")
    if by_kind.get("masks") is not None and any(entry.annotated for entry in facts):
        raise DataError("masks come with the samples of the dataset and are given as masks too; give them once.")


def texts(values: Any, what: str, count: int) -> list[str | None]:
    """A text per image; None where there is none."""
    plain = [value.item() if hasattr(value, "item") else value for value in listed(values, what, count)]
    return [None if value is None or value != value else str(value) for value in plain]


def _count(axes: int, *values: Any) -> int | None:
    """The number of images that labels, patients or annotations tell; ``axes`` are those of an image."""
    for value in values:
        if isinstance(value, Mapping):
            value = next(iter(value.values()), None)
        if value is not None and hasattr(value, "__len__") and not is_alone(value, axes):
            return len(value)
    return None


def _ids(items: Sequence[Item], ids: Iterable[Any] | None) -> tuple[str, ...]:
    """The ids that a caller gives, or the names of files, or the positions."""
    if ids is not None:
        names = [str(id) for id in texts(ids, "ids", len(items))]
        repeated, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise DataError(f"the id {repeated!r} occurs more than once; give every image its own.")
        return tuple(names)
    paths = [item.path for item in items] if isinstance(items, list) else []
    stems = [path.stem for path in paths if path]
    if len(set(stems)) == len(items):
        return tuple(stems)
    return tuple(str(index) for index in range(len(items)))


def _facts(item: Item, annotations: RawAnnotations, form: Form, name: str, window: Window | None) -> Facts:
    """Look at a sample once; files are not read, as the run does that."""
    every = (*item.annotations, *annotations)
    values = [item.image, *(value for *_, value in every)]
    files = tuple(Path(value).expanduser() for value in values if isinstance(value, (str, PathLike)))
    findings = tuple(dict.fromkeys(finding for finding, *_ in every))
    content = item.digest(annotations)
    annotated = bool(item.annotations)
    facts = Facts(content, item.label, findings, files, unclear=item.unclear, annotated=annotated)
    if not hasattr(item.image, "shape"):
        return facts  # a file or an image of Pillow
    image, _ = item.pixels(form, name, window)
    return replace(facts, range=Range.of(image, name), layout=layout_of(array_of(item.image), form))
