"""A heatmap that knows only where the middle is."""

from functools import reduce

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer


class CentreParams(Params):
    """``sigma``: the standard deviation as a share of the grid's length along each dimension."""

    sigma: float = Field(default=0.25, ge=0.01, allow_inf_nan=False)


class Centre(Explainer[CentreParams]):
    """A bell over the middle of the image: what a heatmap is worth that bets on where photographers aim.

    Pixel i of N lies at u = (i + 1/2) / N - 1/2 along its dimension; its value is exp(-sum of u² / (2 sigma²)). The
    same for every image, model and target of one grid (Judd et al. 2012, "A benchmark of computational models of
    saliency to predict human fixations", compare models of gaze with such a bell, stretched to the image's shape).
    """

    requires = frozenset()
    traits = frozenset({"model_free"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Tensor:
        """Bells (n, 1, *space) in 0…1."""
        sides = [_bell(size, self.params.sigma) for size in batch.space]
        bell = reduce(lambda values, side: values[..., None] * side, sides).to(batch.images)
        return bell.expand(len(batch), 1, *batch.space).clone()


def _bell(size: int, sigma: float) -> Tensor:
    """The bell along one dimension (size,), in float64."""
    places = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
    return torch.exp(-places.square() / (2 * sigma**2))
