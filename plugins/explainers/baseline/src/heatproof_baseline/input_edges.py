"""A heatmap of the edges of the image."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.records import Explanation

SLOPE = (-1.0, 0.0, 1.0)
SMOOTHING = (1.0, 2.0, 1.0)


class InputEdges(Explainer):
    """The edges of the image by Sobel's filter, as a comparison that does not depend on the model.

    A heatmap that looks like this one may say nothing about the model (Adebayo et al. 2018, "Sanity checks for saliency
    maps"). The map of a channel is the root of the sum over dimensions of squared slopes. A slope is the difference of
    the two neighbours along its dimension, smoothed by (1, 2, 1) along the others, with border pixels repeated
    outwards. The map of a constant image is zero everywhere and has the note ``degenerate`` 1.
    """

    requires = frozenset()
    traits = frozenset({"model_free"})
    passes = (0, 0)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space), not negative."""
        images = batch.images.detach()
        slopes = [_slope(images, dimension) for dimension in range(2, images.ndim)]
        values: Tensor = torch.linalg.vector_norm(torch.stack(slopes), dim=0)
        is_zero = (values == 0).flatten(1).all(1)
        return Explanation(values, notes={"degenerate": is_zero.double().tolist()})


def _slope(images: Tensor, axis: int) -> Tensor:
    """Sobel's slope of images (n, c, *space) along one spatial axis."""
    for dimension in range(2, images.ndim):
        if dimension == axis:
            images = _filter(images, dimension, SLOPE)
        else:
            images = _filter(images, dimension, SMOOTHING)
    return images


def _filter(images: Tensor, axis: int, weights: tuple[float, float, float]) -> Tensor:
    """The weighted sum of each pixel and its two neighbours along an axis; a border pixel is its own neighbour."""
    index = torch.arange(images.shape[axis], device=images.device)
    before = images.index_select(axis, (index - 1).clamp_min(0))
    after = images.index_select(axis, (index + 1).clamp_max(len(index) - 1))
    first, middle, last = weights
    return first * before + last * after + middle * images
