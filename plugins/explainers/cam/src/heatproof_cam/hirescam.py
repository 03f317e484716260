"""HiResCAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Rectified, RectifiedParams, weighted_sum


class HiResCamParams(RectifiedParams):
    """The layer, and whether ``relu`` sets the pixels that speak against the target to zero, which the paper does not.

    pytorch-grad-cam does. The settings of the layer are those of ``LayeredParams``.
    """

    relu: bool = False


class HiResCam(Rectified[HiResCamParams]):
    """Activations times their gradients, pixel by pixel, without a mean over the gradients (Draelos and Carin 2020).

    The map is the sum over channels of gradient times activation. On the grid of the layer it sums to the score minus
    the bias if the rest of the network is linear; resizing to the image multiplies that sum. Before a global average
    pooling and one linear layer it is CAM, divided by the number of pixels, and so is Grad-CAM without ReLU.
    """

    def evidence(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of gradient * activation."""
        return weighted_sum(layer.gradient, layer.activation)
