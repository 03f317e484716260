"""Layer-CAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, RectifiedParams, rectified, weighted_sum


class LayerCam(Layered[RectifiedParams]):
    """Activations weighted by their own positive gradients, pixel by pixel (Jiang et al. 2021).

    The map is ReLU of the sum over channels of max(gradient, 0) times activation. The paper combines maps of several
    layers after it has scaled those of shallow ones by a tanh, for display; here each layer has its own map, unscaled.
    Without ReLU a pixel is negative only where a layer without activation is: that is no evidence against the target.
    """

    def heat(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of positive gradient * activation, or its positive part."""
        return rectified(weighted_sum(layer.gradient.relu(), layer.activation), self.params)
