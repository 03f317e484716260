"""The subject of an inspection: a network, and the cases of a dataset with their features."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.records import Array, Sample
from heatproof.seeding import generator


@dataclass(frozen=True)
class Inspected:
    """A case without its pixels: names of its ``labels``, and what the model says of it.

    ``decision`` is the name of the decided class, ``probabilities`` (class,) are those of the model's classes.
    """

    id: str
    patient: str
    split: str
    labels: tuple[str, ...]
    decision: str
    probabilities: Array

    @property
    def wrong(self) -> bool:
        """Whether the case has labels and the decision is none of them."""
        return bool(self.labels) and self.decision not in self.labels


class Subject(ABC):
    """A network and the cases on which it is inspected.

    Features are taken once per case and layer. A case that could not be read is not among ``cases``.
    """

    model: Model
    cases: Sequence[Inspected]
    seed: int

    @abstractmethod
    def features(self, layer: str) -> Array:
        """Return the features of all cases at a layer (n, channel) float32: the mean of each map.

        ``layer`` is a name as ``Model.layer`` takes it. The array may lie on disk: read it in slices. Raises
        ``ModelError`` for an unknown layer.
        """
        raise NotImplementedError

    @abstractmethod
    def maps(self, layer: str) -> Iterator[tuple[slice, Array]]:
        """Yield the maps of a layer (m, channel, *grid) float32 in pieces that fit the memory, with their cases.

        Each call runs the network anew.
        """
        raise NotImplementedError

    @abstractmethod
    def sample(self, row: int) -> Sample:
        """Return a case as the model prepares it."""
        raise NotImplementedError

    @abstractmethod
    def batch(self, rows: Sequence[int], targets: Sequence[int]) -> Batch:
        """Return the batch of some cases, for passes of the inspector's own; ``targets`` are classes of the model."""
        raise NotImplementedError

    def generator(self, *purpose: str | int) -> np.random.Generator:
        """Return the generator of random numbers for a purpose, by the seed of the inspection."""
        return generator(self.seed, "inspection", *purpose)
