"""Grad-CAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, P, spatial_axes, weighted_sum


class GradCam(Layered[P]):
    """The channels of one layer, weighted by their mean influence on the score (Selvaraju et al. 2017).

    The map is ReLU of the sum over channels of mean gradient times activation. It is never negative: pixels that speak
    against the target are zero.
    """

    def heat(self, layer: LayerGradient) -> Tensor:
        """ReLU(sum over channels of mean gradient * activation)."""
        weights = layer.gradient.mean(spatial_axes(layer), keepdim=True)
        return weighted_sum(weights, layer.activation).relu()
