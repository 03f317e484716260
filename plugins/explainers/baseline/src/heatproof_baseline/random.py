"""A heatmap that knows nothing."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer


class Random(Explainer):
    """Uniform noise in [0, 1), keyed by the seed and the sample's id: what a heatmap is worth by chance.

    The same on every machine, in every batch and for every model of one grid (specification 7.17).
    """

    requires = frozenset()
    traits = frozenset({"model_free", "seeded"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Tensor:
        """Noise (n, 1, *space)."""
        return batch.uniform(0)[:, None]
