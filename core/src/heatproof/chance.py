"""Chance: the random heatmap that every run compares the others with."""

from torch import Tensor

from .batch import Batch
from .explainer import Explainer

NAME = "heatproof/random"
"""The registered name of ``Random``, reserved for the core."""


class Random(Explainer):
    """Uniform noise in [0, 1) by seed and sample id: the same on every machine and for every model of one grid."""

    requires = frozenset()
    traits = frozenset({"model_free", "seeded", "baseline"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Tensor:
        """Noise (n, 1, *space)."""
        return batch.uniform(0)[:, None]
