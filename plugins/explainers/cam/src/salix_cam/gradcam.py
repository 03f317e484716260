"""Grad-CAM at any layer."""

from collections.abc import Iterable
from typing import Self

from torch import Tensor
from torch.nn import functional

from salix.batch import Batch
from salix.component import Params
from salix.explainer import Explainer
from salix.model import Model
from salix.passes import Layer, gradients
from salix.records import Explanation

INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial dimensions → torch's name of linear interpolation."""


class GradCamParams(Params):
    """``layer``: a convolution by its module name, ``last``, or ``all`` for one heatmap per convolution."""

    layer: str = "last"


class GradCam(Explainer):
    """The channels of one layer, weighted by how much the score rises with each (Selvaraju et al. 2017).

    ReLU of the sum over channels of mean gradient times activation, brought to the size of the image by linear
    interpolation (corners not aligned) and never scaled. Where no channel speaks for the target the map is all zero
    and the note ``degenerate`` is 1. A convolution stands for its tensor after BatchNorm and activation.
    """

    Params = GradCamParams
    params: GradCamParams
    requires = frozenset({"gradients", "layers"})
    traits = frozenset({"differentiable"})
    shares = "gradients"

    def expand(self, model: Model) -> Iterable[Self]:
        """One explainer per convolution where the layer is ``all``."""
        if self.params.layer != "all":
            return (self,)
        return tuple(self.with_(layer=layer) for layer in model.layers())

    def layers(self, model: Model) -> tuple[str, ...]:
        """The one layer, by its full name; raises ``ModelError`` where the model has none of that name."""
        return (model.layer(self.params.layer),)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space), not negative."""
        layer = gradients(batch).layers[batch.model.layer(self.params.layer)]
        heat = resized(class_activation(layer), batch.space)
        dark = heat.detach().flatten(1).amax(1) == 0
        return Explanation(heat, notes={"degenerate": dark.double().tolist()})


def class_activation(layer: Layer) -> Tensor:
    """ReLU(sum over channels of mean gradient * activation) as (n, 1, *layer's space)."""
    space = tuple(range(2, layer.activation.ndim))
    weights = layer.gradient.mean(space, keepdim=True)
    return (weights * layer.activation).sum(1, keepdim=True).relu()


def resized(heat: Tensor, space: tuple[int, ...]) -> Tensor:
    """Maps (n, 1, *layer's space) as (n, 1, *space), by linear interpolation with corners not aligned."""
    return functional.interpolate(heat, size=space, mode=INTERPOLATION[len(space)], align_corners=False)
