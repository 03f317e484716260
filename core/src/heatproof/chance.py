"""Chance: the heatmap that knows nothing, with which every run compares the others."""

from torch import Tensor

from .batch import Batch
from .explainer import Explainer

NAME = "heatproof/random"
"""Its registered name, which no plugin can take."""


class Random(Explainer):
    """Uniform noise in [0, 1), keyed by the seed and the sample's id: what a heatmap is worth by chance.

    The same on every machine, in every batch and for every model of one grid.
    """

    requires = frozenset()
    traits = frozenset({"model_free", "seeded", "baseline"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Tensor:
        """Noise (n, 1, *space)."""
        return batch.uniform(0)[:, None]
