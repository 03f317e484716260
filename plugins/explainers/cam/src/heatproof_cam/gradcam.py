"""Grad-CAM at any layer."""

from torch import Tensor

from heatproof.passes import LayerGradient

from .layered import Layered, P, over_space, weighted


class GradCam(Layered[P]):
    """The channels of one layer, weighted by how much the score rises with each (Selvaraju et al. 2017).

    ReLU of the sum over channels of mean gradient times activation: not negative, and zero where no channel speaks for
    the target.
    """

    def heat(self, layer: LayerGradient) -> Tensor:
        """ReLU(sum over channels of mean gradient * activation)."""
        weights = layer.gradient.mean(over_space(layer), keepdim=True)
        return weighted(weights, layer.activation).relu()
