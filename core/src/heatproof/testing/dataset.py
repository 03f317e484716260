"""Laws of datasets: ids, splits and patients, and the content of samples."""

import os
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from functools import cache, cached_property, partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..component import Component
from ..config.entries import FROM_SAMPLES
from ..dataset import Dataset
from ..errors import DataError
from ..records import Annotation, Sample
from .check import NotApplicable, claim

LOADED = 3
"""Samples per split that are loaded."""


class DatasetBench:
    """A dataset, and a few samples of each of its splits, loaded on first use."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    @property
    def component(self) -> Component:
        """The dataset."""
        return self.dataset

    @cached_property
    def checked_ids(self) -> list[str]:
        """The first, a middle and the last id of each split."""
        ids_of_splits: list[str] = []
        for split in self.dataset.splits:
            ids = self.dataset.ids(split)
            if ids:
                ids_of_splits += [ids[index] for index in np.linspace(0, len(ids) - 1, LOADED).astype(int)]
        return list(dict.fromkeys(ids_of_splits))

    @cached_property
    def samples(self) -> list[Sample]:
        """The samples of ``checked_ids``."""
        return [self.dataset.load(id) for id in self.checked_ids]


def counts_of(dataset: Dataset) -> dict[str, tuple[int, int | None]]:
    """The result of a dataset's ``check`` by what it counts: the count and the expected count."""
    return {tally.what: (tally.count, tally.expected) for tally in dataset.check()}


def ids_are_unique_and_in_a_fixed_order(bench: DatasetBench) -> None:
    """``ids()`` are non-empty texts, at least one and all different, in the same order in a copy of the dataset."""
    ids = bench.dataset.ids()
    claim(bool(ids), "there is no sample.")
    claim(all(isinstance(id, str) and id for id in ids), "some ids are not texts.")
    claim(len(set(ids)) == len(ids), f"{len(ids) - len(set(ids))} ids are repeated.")
    claim(bench.dataset.with_().ids() == ids == bench.dataset.ids(), "the order of ids changes between calls.")


def splits_divide_the_ids(bench: DatasetBench) -> None:
    """Every sample is in exactly one split; ``tuning`` is one of the splits."""
    dataset = bench.dataset
    parts = [id for split in dataset.splits for id in dataset.ids(split)]
    claim(len(set(parts)) == len(parts), f"{len(parts) - len(set(parts))} samples are in more than one split.")
    claim(set(parts) == set(dataset.ids()), "the splits together are not all samples.")
    claim(dataset.tuning in (None, *dataset.splits), f"the tuning split {dataset.tuning!r} is not a split.")


def no_patient_is_in_two_splits(bench: DatasetBench) -> None:
    """All samples of a patient are in one split; otherwise patients of the tuning split would be tested."""
    splits: dict[str, str] = {}
    for split in bench.dataset.splits:
        for id in bench.dataset.ids(split):
            patient = bench.dataset.patient(id)
            first = splits.setdefault(patient, split)
            claim(first == split, f"patient {patient!r} is in the splits {first!r} and {split!r}.")


def samples_are_the_ones_asked_for(bench: DatasetBench) -> None:
    """A sample has the id that ``load`` was called with and the patient that ``patient`` returns."""
    for id, sample in zip(bench.checked_ids, bench.samples):
        claim(sample.id == id, f"load({id!r}) returns the sample {sample.id!r}.")
        patient = bench.dataset.patient(id)
        claim(sample.patient == patient, f"{id!r} has the patient {sample.patient!r}, but patient(id) is {patient!r}.")


def images_are_as_decoded(bench: DatasetBench) -> None:
    """Images are (c, *space) with one or more channels and two or three spatial dimensions.

    Their values are unsigned integers, or floats from 0 to 1.
    """
    for sample in bench.samples:
        claim(sample.image.ndim in (3, 4), f"the image of {sample.id} has shape {sample.image.shape}.")
        claim(sample.image.size > 0, f"the image of {sample.id} is empty.")
        low = sample.image.min()
        high = sample.image.max()
        kind = sample.image.dtype.kind
        valid = kind == "u" or (kind == "f" and low >= 0 and high <= 1)
        claim(
            bool(valid),
            f"the image of {sample.id} is {sample.image.dtype} from {low:g} to {high:g}; allowed: unsigned integers, "
            "and floats from 0 to 1.",
        )


def annotations_lie_on_their_image(bench: DatasetBench) -> None:
    """Annotations have the image's spatial shape, a declared finding, and values in 0…1, or above 0 for a density."""
    for sample in bench.samples:
        for annotation in sample.annotations:
            _claim_annotation(bench.dataset, sample, annotation)


def labels_are_among_the_classes(bench: DatasetBench) -> None:
    """A label is the index of a class, a tuple of indices, or None; extras are declared."""
    classes = len(bench.dataset.classes)
    for sample in bench.samples:
        several = isinstance(sample.label, tuple)
        labels = sample.label if isinstance(sample.label, tuple) else (sample.label,)
        valid = sample.label is None or all(isinstance(label, int) and 0 <= label < classes for label in labels)
        claim(valid, f"the label of {sample.id} is {sample.label!r}; there are {classes} classes.")
        claim(bench.dataset.multilabel or not several, f"{sample.id} has several labels; set multilabel.")
        extras = set(sample.extras) - set(bench.dataset.extras)
        claim(not extras, f"{sample.id} has extras that are not declared: {', '.join(sorted(extras))}.")


def attributes_are_declared_texts_and_numbers(bench: DatasetBench) -> None:
    """``attributes_of`` gives texts and finite numbers by declared names, of which none is ``label`` or ``finding``."""
    declared = bench.dataset.attributes
    reserved = [name for name in declared if name in FROM_SAMPLES]
    claim(
        not reserved, f"an attribute is called {' and '.join(reserved)}, which `by` of a config reads as the sample's."
    )
    for id in bench.checked_ids:
        for name, value in bench.dataset.attributes_of(id).items():
            claim(name in declared, f"{id!r} has the attribute {name!r}, which is not declared.")
            valid = isinstance(value, str) or (isinstance(value, Real) and bool(np.isfinite(value)))
            claim(valid, f"the attribute {name!r} of {id!r} is {value!r}; allowed: texts and finite numbers.")


def fields_and_geometries_fit_their_image(bench: DatasetBench) -> None:
    """A field is bool and has the image's spatial shape; a geometry has the image's native shape."""
    for sample in bench.samples:
        if sample.field is not None:
            fits = sample.field.dtype == bool and sample.field.shape == sample.space
            claim(fits, f"the field of {sample.id} is {sample.field.dtype} {sample.field.shape}.")
        if sample.geometry is not None:
            claim(
                sample.geometry.native == sample.space, f"the geometry of {sample.id} is of {sample.geometry.native}."
            )


def loading_twice_gives_the_same_bits(bench: DatasetBench) -> None:
    """A sample has the same image, annotations and label to the bit, whichever samples were loaded before."""
    for first in bench.samples[::-1]:
        second = bench.dataset.load(first.id)
        same = np.array_equal(first.image, second.image) and first.label == second.label
        claim(same, f"{first.id} has a different image or label when loaded again.")
        pairs = zip(first.annotations, second.annotations, strict=True)
        same = all(np.array_equal(before.values, after.values) for before, after in pairs)
        claim(same, f"{first.id} has other annotations when loaded again.")


def what_is_unknown_is_refused(bench: DatasetBench) -> None:
    """An id or a split that does not exist raises ``DataError``."""
    calls: dict[str, Callable[[], object]] = {
        "id": lambda: bench.dataset.load("no such id"),
        "split": lambda: bench.dataset.ids("no such split"),
    }
    for kind, call in calls.items():
        try:
            call()
        except DataError:
            continue
        claim(False, f"an unknown {kind} is accepted; raise DataError.")


def files_of_names_the_files_that_load_opens(bench: DatasetBench) -> None:
    """``files_of``, or ``files`` without it, names all but tables that ``load`` opens below the dataset's folders."""
    dataset = bench.dataset
    values = [dataset.root(), *dict(dataset.params).values()]
    folders = _resolved(value for value in values if isinstance(value, Path))
    if not folders:
        raise NotApplicable("the dataset has no folder.")
    # The samples were loaded before, so tables that are read once for all samples are not opened any more.
    for id in [sample.id for sample in bench.samples]:
        opened = _opened(partial(dataset.load, id))
        files = dataset.files_of(id)
        if files is None:
            files = dataset.files()
        opened = {path for path in opened if not any(fnmatch(path.name, pattern) for pattern in dataset.tables)}
        unnamed = [path for path in sorted(opened - _resolved(files)) if folders.intersection(path.parents)]
        claim(not unnamed, f"load({id!r}) reads {', '.join(map(str, unnamed[:2]))}; name it in files_of.")


LAWS: tuple[Callable[[DatasetBench], None], ...] = (
    ids_are_unique_and_in_a_fixed_order,
    splits_divide_the_ids,
    no_patient_is_in_two_splits,
    samples_are_the_ones_asked_for,
    images_are_as_decoded,
    annotations_lie_on_their_image,
    labels_are_among_the_classes,
    attributes_are_declared_texts_and_numbers,
    fields_and_geometries_fit_their_image,
    loading_twice_gives_the_same_bits,
    what_is_unknown_is_refused,
    files_of_names_the_files_that_load_opens,
)


def _opened(load: Callable[[], Sample]) -> set[Path]:
    """The files that a call opens, in any thread, and those that the sample names as its sources."""
    paths: set[str] = set()
    _listeners().append(paths)
    try:
        sample = load()
    finally:
        _listeners().remove(paths)
    origins = (sample.geometry, *sample.annotations)
    paths |= {origin.source for origin in origins if origin is not None and origin.source}
    return {path for path in _resolved(map(Path, paths)) if path.is_file()}


@cache
def _listeners() -> list[set[str]]:
    """The sets to which the path of every opened file is added; the hook that does so can never be removed."""
    listeners: list[set[str]] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if listeners and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            for paths in listeners:
                paths.add(os.fsdecode(arguments[0]))

    sys.addaudithook(note)
    return listeners


def _resolved(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def _claim_annotation(dataset: Dataset, sample: Sample, annotation: Annotation) -> None:
    values = annotation.values
    name = f"{annotation.finding!r} of {sample.id}"
    claim(annotation.finding in dataset.findings, f"{name} is not among the declared findings.")
    claim(
        dataset.readers is None or annotation.reader in ("", *dataset.readers),
        f"the reader {annotation.reader!r} of {name} is not among the declared readers.",
    )
    claim(values.shape == sample.space, f"{name} has shape {values.shape}, the image {sample.space}.")
    highest = np.inf if annotation.kind == "density" else 1
    claim(bool(((values >= 0) & (values <= highest)).all()), f"values of {name} leave 0…1.")
