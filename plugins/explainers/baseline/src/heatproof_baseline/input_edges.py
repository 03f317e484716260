"""A heatmap that knows only the image's edges."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.records import Explanation

SLOPE = (-1.0, 0.0, 1.0)
SMOOTHING = (1.0, 2.0, 1.0)


class InputEdges(Explainer):
    """The size of the image's own gradient, by Sobel's filter: what a heatmap is worth that only traces edges.

    A map that looks like this one need not say anything of the model (Adebayo et al. 2018, "Sanity checks for saliency
    maps"). Per channel the root of the sum over dimensions of squared slopes; a slope is the difference of the two
    neighbours along its dimension, smoothed by (1, 2, 1) along the others, with border pixels repeated outwards. A
    constant image gives zero everywhere and the note ``degenerate`` 1.
    """

    requires = frozenset()
    traits = frozenset({"model_free"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space), not negative."""
        images = batch.images.detach()
        slopes = [_slope(images, dimension) for dimension in range(2, images.ndim)]
        values: Tensor = torch.linalg.vector_norm(torch.stack(slopes), dim=0)
        dark = (values == 0).flatten(1).all(1)
        return Explanation(values, notes={"degenerate": dark.double().tolist()})


def _slope(images: Tensor, along: int) -> Tensor:
    """Sobel's slope of images (n, c, *space) along one dimension."""
    for dimension in range(2, images.ndim):
        images = _filtered(images, dimension, SLOPE if dimension == along else SMOOTHING)
    return images


def _filtered(images: Tensor, dimension: int, weights: tuple[float, float, float]) -> Tensor:
    """The weighted sum of each pixel and its two neighbours along a dimension; a border pixel neighbours itself."""
    places = torch.arange(images.shape[dimension], device=images.device)
    before, behind = (places - 1).clamp_min(0), (places + 1).clamp_max(len(places) - 1)
    first, middle, last = weights
    neighbours = first * images.index_select(dimension, before) + last * images.index_select(dimension, behind)
    return neighbours + middle * images
