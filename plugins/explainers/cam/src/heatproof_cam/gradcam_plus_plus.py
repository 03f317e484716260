"""Grad-CAM++ at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, LayeredParams, over_space, weighted


class GradCamPlusPlus(Layered[LayeredParams]):
    """Grad-CAM whose weights do not shrink with the area of what the score rises with (Chattopadhay et al. 2018).

    A channel A with gradient g weighs the sum over its pixels of a max(g, 0) with a = g² / (2 g² + g³ sum(A)); the map
    is ReLU of the weighted sum. The paper explains exp(score): that multiplies every weight of
    a sample by one positive number, which is left out. Where sum(A) is negative, as a layer without activation can
    have it, a may have either sign.
    """

    def heat(self, layer: LayerGradient) -> Tensor:
        """ReLU(sum over channels of weight * activation)."""
        # a g = g / (2 + g sum(A)) has the same value and none of the powers, which underflow; where g is 0 it is 0.
        total = layer.activation.sum(over_space(layer), keepdim=True)
        positive = layer.gradient.relu()
        weights = (positive / (2 + positive * total)).sum(over_space(layer), keepdim=True)
        return weighted(weights, layer.activation).relu()
