"""Respond-CAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, LayeredParams, spatial_axes, weighted_sum

EPSILON = 1e-10
"""Added to sum(A), which is zero for a channel without activation."""


class RespondCam(Layered[LayeredParams]):
    """Grad-CAM for volumes, with a map that sums to the score (Zhao et al. 2018).

    The weight of a channel A with gradient g is sum(A g) / sum(A): the mean gradient, weighted by the activation. There
    is no ReLU. On the grid of the layer the map sums to the score minus the bias if the rest of the network is linear
    or scales with its input. Resizing to the image multiplies that sum.
    """

    traits = frozenset({"signed", "differentiable"})

    def heat(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of weight * activation."""
        axes = spatial_axes(layer)
        contribution = (layer.activation * layer.gradient).sum(axes, keepdim=True)
        total = layer.activation.sum(axes, keepdim=True)
        return weighted_sum(contribution / (total + EPSILON), layer.activation)
