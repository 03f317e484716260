"""Respond-CAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, LayeredParams, over_space, weighted

EPSILON = 1e-10
"""What keeps the weight of a channel without activation finite."""


class RespondCam(Layered[LayeredParams]):
    """Grad-CAM whose map adds up to the score, made for volumes (Zhao et al. 2018).

    A channel A with gradient g weighs sum(A g) / sum(A): the gradient averaged where the channel is active. There is no
    ReLU. On the layer's own grid the map sums to score less bias where the rest of the network is linear, or scales as
    its input does; interpolation to the size of the image multiplies that sum.
    """

    traits = frozenset({"signed", "differentiable"})

    def heat(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of weight * activation."""
        space = over_space(layer)
        drive = (layer.activation * layer.gradient).sum(space, keepdim=True)
        return weighted(drive / (layer.activation.sum(space, keepdim=True) + EPSILON), layer.activation)
