"""A subject whose samples and features are in memory, for Python and for tests."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch

from heatproof.batch import Batch, fields
from heatproof.errors import DataError
from heatproof.model import Model
from heatproof.records import Array, Sample
from heatproof_inspectors.subject import Inspected, Subject

PIECE = 16
"""Images per pass."""


class InMemory(Subject):
    """A model and prepared samples; ``classes`` are those of the dataset, by which labels are named.

    Raises ``DataError`` for no sample, and for samples of unequal shapes.
    """

    def __init__(
        self, model: Model, samples: Sequence[Sample], classes: Sequence[str] = (), split: str = "all", seed: int = 0
    ):
        self.model = model
        self.samples = list(samples)
        self.seed = seed
        shapes = {sample.image.shape for sample in self.samples}
        if len(shapes) != 1:
            seen = ", ".join(map(str, sorted(shapes))) or "none"
            raise DataError(f"an inspection needs prepared images of one shape; seen: {seen}.")
        self.cases = [
            self._case(sample, tuple(classes), split, logits)
            for sample, logits in zip(self.samples, np.concatenate(list(self._logits())))
        ]
        self._features = cache(self._taken)

    def features(self, layer: str) -> Array:
        """Return the features of all cases at a layer (n, channel) float32."""
        return self._features(self.model.layer(layer))

    def maps(self, layer: str) -> Iterator[tuple[slice, Array]]:
        """Yield the maps of a layer (m, channel, *grid) float32 with their cases."""
        name = self.model.layer(layer)
        for piece, batch in self._pieces():
            with torch.no_grad():
                _, activations = batch.forward(capture=[name])
            yield piece, activations[name].float().cpu().numpy()

    def sample(self, row: int) -> Sample:
        """Return a case as the model prepares it."""
        return self.samples[row]

    def batch(self, rows: Sequence[int], targets: Sequence[int]) -> Batch:
        """Return the batch of some cases."""
        samples = [self.samples[row] for row in rows]
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(self.model.dtype)
        ids = [sample.id for sample in samples]
        inputs = self.model.collate(samples)
        return Batch(self.model, ids, images, targets, inputs=inputs, field=fields(samples), seed=self.seed)

    def _pieces(self) -> Iterator[tuple[slice, Batch]]:
        for start in range(0, len(self.samples), PIECE):
            piece = slice(start, min(start + PIECE, len(self.samples)))
            rows = range(piece.start, piece.stop)
            yield piece, self.batch(rows, [0] * len(rows))

    def _logits(self) -> Iterator[Array]:
        for _, batch in self._pieces():
            with torch.no_grad():
                logits, _ = batch.forward()
            yield logits.cpu().numpy()

    def _taken(self, layer: str) -> Array:
        return np.concatenate([pooled(maps) for _, maps in self.maps(layer)])

    def _case(self, sample: Sample, classes: tuple[str, ...], split: str, logits: Array) -> Inspected:
        prediction = self.model.read(logits)
        labels = [] if sample.label is None else np.atleast_1d(np.asarray(sample.label)).tolist()
        return Inspected(
            sample.id, sample.patient, split, tuple(classes[index] for index in labels),
            self.model.classes[prediction.decision], self.model.probabilities(prediction),
        )  # fmt: skip


def pooled(maps: Array) -> Array:
    """Return the mean of each map, (n, channel, *grid) → (n, channel) float32.

    >>> pooled(np.array([[[[1, 3]], [[0, 0]]]], np.float32)).tolist()
    [[2.0, 0.0]]
    """
    return np.asarray(maps.reshape(*maps.shape[:2], -1).mean(axis=2, dtype=np.float64), np.float32)
