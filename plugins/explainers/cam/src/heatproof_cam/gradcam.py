"""Grad-CAM at any layer."""

from typing import TypeVar

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Rectified, RectifiedParams, spatial_axes, weighted_sum


class GradCamParams(RectifiedParams):
    """The layer, and whether ``relu`` sets the pixels that speak against the target to zero, as in the paper.

    Without it the map is signed, as that of captum's ``LayerGradCam`` by default. The settings of the layer are those
    of ``LayeredParams``.
    """


P = TypeVar("P", bound=GradCamParams, covariant=True)


class GradCam(Rectified[P]):
    """The channels of one layer, weighted by their mean influence on the score (Selvaraju et al. 2017).

    The map is ReLU of the sum over channels of mean gradient times activation. It is never negative: pixels that speak
    against the target are zero. With ``relu: false`` it is this sum itself.
    """

    revision = 2

    def evidence(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of mean gradient * activation."""
        weights = layer.gradient.mean(spatial_axes(layer), keepdim=True)
        return weighted_sum(weights, layer.activation)
