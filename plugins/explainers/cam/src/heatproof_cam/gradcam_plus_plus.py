"""Grad-CAM++ at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, LayeredParams, spatial_axes, weighted_sum


class GradCamPlusPlus(Layered[LayeredParams]):
    """Grad-CAM with weights that do not depend on the area of the object (Chattopadhay et al. 2018).

    The weight of a channel A with gradient g is the sum over its pixels of a max(g, 0) with
    a = g² / (2 g² + g³ sum(A)). The map is ReLU of the weighted sum of channels. The paper explains exp(score), which
    multiplies all weights of a sample by the same positive number; this factor is left out. If sum(A) is negative,
    which a layer without activation allows, a can have either sign.
    """

    revision = 2

    def heat(self, layer: LayerGradient) -> Tensor:
        """ReLU(sum over channels of weight * activation)."""
        # The equal form a g = g / (2 + g sum(A)) avoids powers, which underflow, and gives 0 where g is 0.
        total = layer.activation.sum(spatial_axes(layer), keepdim=True)
        positive = layer.gradient.relu()
        weights = (positive / (2 + positive * total)).sum(spatial_axes(layer), keepdim=True)
        return weighted_sum(weights, layer.activation).relu()
