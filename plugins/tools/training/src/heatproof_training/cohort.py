"""The samples of a training: prepared once and cached, with labels as indices of the model's classes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from heatproof.dataset import Dataset
from heatproof.digests import digest
from heatproof.errors import DataError, near
from heatproof.model import Model
from heatproof.plan.sample_cache import Cache, prepared
from heatproof.records import Sample

from .settings import TrainingConfig


@dataclass(frozen=True)
class Member:
    """A sample without its pixels: its patient, and its labels as indices of the model's classes."""

    id: str
    patient: str
    labels: tuple[int, ...] | None

    @property
    def label(self) -> int | None:
        """The first label; None without one."""
        return self.labels[0] if self.labels else None


class Cohort:
    """The samples of a dataset as a model prepares them; a prepared sample is read back from the cache."""

    def __init__(self, config: TrainingConfig, model: Model, cache: Cache):
        self.dataset: Dataset = config.data.component
        self.model = model
        self.cache = cache
        self.config = config
        self._keys: dict[str, str] = {}

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the samples that the config selects, of all splits that it names."""
        split = self.config.split
        names: list[str | None] = [self.config.data.split]
        if split.train is not None:
            names = [str(name) for name in (split.train, split.validation, split.test) if name]
        ids = [id for name in dict.fromkeys(names) for id in self.dataset.ids(name)]
        if self.config.data.ids is not None:
            unknown = sorted({*self.config.data.ids} - {*ids})
            if unknown:
                raise DataError(f"{self.dataset.short} has no sample {unknown[0]!r} here; {near(unknown[0], ids)}")
            ids = list(self.config.data.ids)
        if not ids:
            raise DataError(f"{self.dataset.short} has no samples to train on; check the folder and data.split.")
        return ids[: self.config.data.limit]

    def sample(self, id: str) -> Sample:
        """Return a prepared sample with labels as indices of the model's classes, None for no label or no need of one.

        Raises ``DataError`` for a sample that cannot be used.
        """
        stored = prepared(self.cache).stored(self._key(id))
        sample = prepared(self.cache).sample(self.dataset, self.model, id) if stored is None else stored.sample
        label = None
        if self.config.objective.labelled:
            label = labels_of(sample, self.dataset, self.model)
        return replace(sample, label=label)

    def _key(self, id: str) -> str | None:
        if id not in self._keys:
            self._keys |= prepared(self.cache).keys(self.dataset, self.model, [id])
        return self._keys.get(id)

    def samples(self, ids: Sequence[str]) -> Iterator[Sample]:
        """Yield prepared samples in order; several threads read at a time."""
        with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), 8))) as pool:
            yield from pool.map(self.sample, ids)

    def digest(self, members: Sequence[Member]) -> str:
        """Return the digest of the data: the dataset, and of each sample the files, the patient and the labels."""
        contents = prepared(self.cache).contents
        rows = [[member.id, contents.of(self.dataset, member.id), member.patient, member.labels] for member in members]
        return digest([self.dataset.identity, rows])


def member_of(sample: Sample) -> Member:
    """Return a prepared sample without its pixels; raises ``DataError`` for pixels that are not finite."""
    if not np.isfinite(sample.image).all():
        raise DataError(f"the prepared image of {sample.id} holds values that are not finite; leave it out or mend it.")
    labels = None if sample.label is None else tuple(int(index) for index in np.atleast_1d(np.asarray(sample.label)))
    return Member(sample.id, sample.patient, labels)


def labels_of(sample: Sample, dataset: Dataset, model: Model) -> int | tuple[int, ...] | None:
    """Translate the labels of a sample into indices of the model's classes, which are matched by name.

    Of several labels those that the model has no class for are left out. Raises ``DataError`` for a label outside the
    dataset's classes, and for a single label without a class of the model.
    """
    if sample.label is None:
        return None
    names = [_class_name(sample.id, int(index), dataset) for index in np.atleast_1d(np.asarray(sample.label))]
    if isinstance(sample.label, tuple):
        return tuple(model.classes.index(name) for name in names if name in model.classes)
    if names[0] not in model.classes:
        raise DataError(
            f"sample {sample.id} is labelled {names[0]!r}, which is no class of {model.short}; name the "
            f"classes of the dataset in the model, or leave such samples out ({near(names[0], model.classes)})."
        )
    return model.classes.index(names[0])


def _class_name(id: str, index: int, dataset: Dataset) -> str:
    if not 0 <= index < len(dataset.classes):
        count = len(dataset.classes)
        allowed = f"0 to {count - 1}" if count else "none, as it names no classes"
        raise DataError(f"label {index} of {id} is outside the {count} classes of {dataset.short}; allowed: {allowed}.")
    return dataset.classes[index]
