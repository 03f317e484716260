"""The subject of an inspection whose features lie on disk."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.records import Array, Sample
from heatproof_inspectors.subject import Inspected, Subject

from .cohort import Cohort
from .features import LOGITS, Features


class Stored(Subject):
    """The cases of a cohort that could be read, with their features on disk."""

    def __init__(self, cohort: Cohort, features: Features):
        self.cohort = cohort
        self.model = cohort.model
        self.seed = cohort.config.seed
        self._features = features
        self.rows = [features.rows[position] for position in features.read]

    @cached_property
    def cases(self) -> Sequence[Inspected]:  # type: ignore[override]
        """The cases, with what the model says of them."""
        logits = self._features.of(LOGITS)[:]
        cases = []
        for row, values in zip(self.rows, logits):
            prediction = self.model.read(values)
            decision = self.model.classes[prediction.decision]
            split = self.cohort.splits[row.id]
            probabilities = self.model.probabilities(prediction)
            cases.append(Inspected(row.id, row.patient, split, row.labels, decision, probabilities))
        return cases

    def features(self, layer: str) -> Array:
        """Return the features of all cases at a layer (n, channel); raises ``ModelError`` for one that nobody named."""
        name = self.model.layer(layer)
        if name not in self._features.layers:
            raise ModelError(f"the features of {name} were not taken; return it from layers() of the inspector.")
        return self._features.of(name)

    def maps(self, layer: str) -> Iterator[tuple[slice, Array]]:
        """Yield the maps of a layer (m, channel, *grid) float32, as many cases as the config has per pass."""
        name = self.model.layer(layer)
        step = self.cohort.config.rows
        for start in range(0, len(self.rows), step):
            piece = slice(start, min(start + step, len(self.rows)))
            batch = self.batch(range(piece.start, piece.stop), [0] * (piece.stop - piece.start))
            with torch.no_grad():
                parts = batch.pieced(lambda part: part.forward(capture=[name])[1][name])
            yield piece, torch.cat(parts).float().cpu().numpy()

    def sample(self, row: int) -> Sample:
        """Return a case as the model prepares it."""
        return self.cohort.sample(self.rows[row].id)

    def batch(self, rows: Sequence[int], targets: Sequence[int]) -> Batch:
        """Return the batch of some cases."""
        return self.cohort.batch([self.sample(row) for row in rows], targets)
