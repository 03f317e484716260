"""A heatmap that is highest at the centre of the image."""

from functools import reduce

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer


class CentreParams(Params):
    """``sigma``: the standard deviation, relative to the size of the image along each dimension."""

    sigma: float = Field(default=0.25, ge=0.01, le=100)


class Centre(Explainer[CentreParams]):
    """A Gaussian at the centre of the image, as a comparison for images with their object in the middle.

    Along each dimension, pixel i of N has the coordinate u = (i + 1/2) / N - 1/2; the value of a pixel is
    exp(-sum of u² / (2 sigma²)). The map is the same for every model, target and image of one size. Judd et al. 2012,
    "A benchmark of computational models of saliency to predict human fixations", compare models of gaze with such a
    Gaussian, stretched to the shape of the image.
    """

    requires = frozenset()
    traits = frozenset({"model_free"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, 1, *space) in 0…1."""
        profiles = [_gaussian(size, self.params.sigma) for size in batch.space]
        heatmap = reduce(lambda values, profile: values[..., None] * profile, profiles).to(batch.images)
        return heatmap.expand(len(batch), 1, *batch.space).clone()


def _gaussian(size: int, sigma: float) -> Tensor:
    """The Gaussian along one dimension (size,), in float64."""
    coordinates = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
    return torch.exp(-coordinates.square() / (2 * sigma**2))
