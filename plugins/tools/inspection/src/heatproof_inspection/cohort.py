"""The cases of an inspection: their ids by split, and their prepared samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof.batch import Batch, fields
from heatproof.dataset import Dataset
from heatproof.digests import digest
from heatproof.errors import DataError, near
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.plan.sample_cache import configured, prepared
from heatproof.records import Array, Sample

from .settings import InspectionConfig


@dataclass(frozen=True)
class Cohort:
    """The cases of a config, and the network that they are prepared for, on its ``device``."""

    config: InspectionConfig
    device: torch.device

    @property
    def dataset(self) -> Dataset:
        """The dataset."""
        return self.config.datasets[0].component

    @property
    def model(self) -> Model:
        """The model."""
        return self.config.model

    @cached_property
    def splits(self) -> dict[str, str]:
        """Id → its split; raises ``DataError`` for an id in two of them, an unknown one, or none at all."""
        splits: dict[str, str] = {}
        for entry in self.config.datasets:
            ids = list(self.dataset.ids(entry.split))
            unknown = sorted({*(entry.ids or ())} - {*ids})
            if unknown:
                raise DataError(f"{self.dataset.short} has no sample {unknown[0]!r} here; {near(unknown[0], ids)}")
            for id in list(entry.ids or ids)[: entry.limit]:
                if splits.setdefault(id, entry.split or "all") != (entry.split or "all"):
                    raise DataError(f"{id} is in the splits {splits[id]} and {entry.split or 'all'}; list one of them.")
        if not splits:
            raise DataError(f"{self.dataset.short} has no samples here; check it with `{self.dataset.check_command}`.")
        return splits

    @cached_property
    def digest(self) -> str:
        """The digest of everything that features depend on but the layer: cases, their files, and the network."""
        contents = prepared(configured(self.config.cache)).contents
        contents.read([(self.dataset, tuple(self.splits))], lambda text: None)
        files = [contents.of(self.dataset, id) for id in self.splits]
        return digest([self.dataset.identity, list(self.splits), files, self.model.identity])

    def sample(self, id: str) -> Sample:
        """Return a sample as the model prepares it; raises what loading and preparing raise."""
        cache = prepared(configured(self.config.cache))
        stored = cache.stored(cache.keys(self.dataset, self.model, [id]).get(id))
        return cache.sample(self.dataset, self.model, id) if stored is None else stored.sample

    def batch(self, samples: Sequence[Sample], targets: Sequence[int], explainer: Explainer | None = None) -> Batch:
        """Return a batch of prepared samples, with what an explainer needs; raises ``DataError`` for unequal shapes."""
        first = samples[0]
        for sample in samples:
            if sample.image.shape != first.image.shape:
                shapes = f"{sample.image.shape}, that of {first.id} {first.image.shape}"
                raise DataError(
                    f"the prepared image of {sample.id} has shape {shapes}; choose a preparation with a fixed size."
                )
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(self.device, self.model.dtype)
        inputs = {name: self._moved(value) for name, value in self.model.collate(samples).items()}
        asked: dict[str, Any] = {}
        if explainer is not None:
            asked = {"layers": explainer.layers(self.model), "requests": explainer.requests(self.model)}
        return Batch(
            self.model, [sample.id for sample in samples], images, targets, inputs=inputs,
            field=fields(samples).to(self.device), rows=self.config.rows, seed=self.config.seed,
            **asked,
        )  # fmt: skip

    def names(self, sample: Sample) -> tuple[str, ...]:
        """Return the names of a sample's labels."""
        if sample.label is None:
            return ()
        return tuple(self.dataset.classes[index] for index in np.atleast_1d(np.asarray(sample.label)).tolist())

    def _moved(self, value: object) -> object:
        if not isinstance(value, Tensor):
            return value
        return value.to(self.device, self.model.dtype if value.dtype == torch.float32 else None)


def require_finite(sample: Sample) -> Sample:
    """Return the sample; raises ``DataError`` for pixels that are not finite."""
    values: Array = sample.image
    if not np.isfinite(values).all():
        raise DataError(f"the prepared image of {sample.id} holds values that are not finite")
    return sample
