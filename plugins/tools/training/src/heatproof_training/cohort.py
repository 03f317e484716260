"""The samples of a training: prepared once and cached, with labels as indices of the model's classes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
import torch

from heatproof.dataset import Dataset
from heatproof.digests import digest
from heatproof.errors import DataError, near
from heatproof.model import Model
from heatproof.plan.sample_cache import Cache, prepared
from heatproof.records import Sample

from .labels import annotated, labels_of
from .patches import PatchSettings, Start, patch, random_start, tiles
from .settings import TrainingConfig


@dataclass(frozen=True)
class Member:
    """A sample without its pixels: its patient, its labels as indices of the model's classes, and its patches."""

    id: str
    patient: str
    labels: tuple[int, ...] | None
    patches: tuple[Start, ...] = ()

    @property
    def label(self) -> int | None:
        """The first label; None without one."""
        return self.labels[0] if self.labels else None


class Cohort:
    """The samples of a dataset as a model prepares them.

    A prepared sample is read back from the cache, or stays in memory up to the size that the config allows.
    """

    def __init__(self, config: TrainingConfig, model: Model, cache: Cache):
        self.dataset: Dataset = config.data.component
        self.model = model
        self.cache = cache
        self.config = config
        self._keys: dict[str, str] = {}
        self._lock = Lock()
        self._memory: dict[str, Sample] = {}
        self._room = config.memory * 1e9  # in bytes

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
        return self._labelled(self._prepared(id))

    def piece(self, id: str, start: Start | None) -> Sample:
        """Return the patch of a sample that begins there, or with None the whole sample; with its own labels."""
        return self._piece(self._prepared(id), start)

    def random_piece(self, id: str, rng: np.random.Generator) -> Sample:
        """Draw a patch of a sample, with its own labels; the whole sample where the config asks for no patches."""
        sample = self._prepared(id)
        if self.config.patches is None:
            return self._labelled(sample)
        return self._piece(sample, random_start(sample, self.config.patches, rng))

    def _piece(self, sample: Sample, start: Start | None) -> Sample:
        if start is not None:
            assert self.config.patches is not None
            sample = patch(sample, start, self.config.patches.size)
        return self._labelled(sample)

    def _prepared(self, id: str) -> Sample:
        """A prepared sample with the labels of the dataset."""
        with self._lock:
            remembered = self._memory.get(id)
        if remembered is not None:
            return remembered
        stored = prepared(self.cache).stored(self._key(id))
        sample = prepared(self.cache).sample(self.dataset, self.model, id) if stored is None else stored.sample
        size = _bytes(sample)
        with self._lock:
            if size <= self._room and id not in self._memory:
                self._room -= size
                self._memory[id] = sample
        return sample

    def _labelled(self, sample: Sample) -> Sample:
        if not self.config.objective.labelled:
            return replace(sample, label=None)
        if self.config.labels == "annotations":
            return replace(sample, label=annotated(sample, self.model))
        return replace(sample, label=labels_of(sample, self.dataset, self.model))

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


def member_of(sample: Sample, patches: PatchSettings | None = None) -> Member:
    """Return a prepared sample without its pixels; raises ``DataError`` for pixels that are not finite."""
    if not np.isfinite(sample.image).all():
        raise DataError(f"the prepared image of {sample.id} holds values that are not finite; leave it out or mend it.")
    labels = None if sample.label is None else tuple(int(index) for index in np.atleast_1d(np.asarray(sample.label)))
    return Member(sample.id, sample.patient, labels, tuple(tiles(sample, patches)) if patches else ())


def _bytes(sample: Sample) -> int:
    """The size of the arrays of a sample; those inside other extras do not count."""
    values = [sample.image, sample.field, *sample.extras.values(), *(entry.values for entry in sample.annotations)]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
