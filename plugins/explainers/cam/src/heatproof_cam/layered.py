"""What maps of one layer share: the layer, the weighted sum of its channels, and the way to the size of the image."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Self, TypeVar

from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import LayerGradient, gradients
from heatproof.records import Explanation

INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial dimensions → torch's name of linear interpolation."""


class LayeredParams(Params):
    """``layer``: a layer of the model by its module name, ``last``, or ``all`` for one heatmap per layer."""

    layer: str = "last"


P = TypeVar("P", bound=LayeredParams, covariant=True)


class Layered(Explainer[P]):
    """A map made of one layer's activations and their gradients.

    It is brought to the size of the image by linear interpolation (corners not aligned) and never scaled. One that is
    zero everywhere has the note ``degenerate`` 1. A convolution stands for its tensor after BatchNorm and activation.
    """

    requires = frozenset({"gradients", "layers"})
    traits = frozenset({"differentiable"})
    shares = "gradients"

    @abstractmethod
    def heat(self, layer: LayerGradient) -> Tensor:
        """The map (n, 1, *layer's space)."""
        raise NotImplementedError

    def expand(self, model: Model) -> Iterable[Self]:
        """One explainer per layer where the layer is ``all``."""
        if self.params.layer != "all":
            return (self,)
        return tuple(self.with_(layer=layer) for layer in model.layers())

    def layers(self, model: Model) -> tuple[str, ...]:
        """The one layer, by its full name; raises ``ModelError`` where the model has none of that name."""
        return (model.layer(self.params.layer),)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        layer = gradients(batch).layers[batch.model.layer(self.params.layer)]
        return noted(resized(self.heat(layer), batch.space))


def over_space(layer: LayerGradient) -> tuple[int, ...]:
    """The spatial axes of a layer's tensors."""
    return tuple(range(2, layer.activation.ndim))


def weighted(weights: Tensor, values: Tensor) -> Tensor:
    """The sum over channels of weights (n, channel, 1, …) times values (n, channel, *space), as (n, 1, *space)."""
    return (weights * values).sum(1, keepdim=True)


def resized(heat: Tensor, space: tuple[int, ...]) -> Tensor:
    """Maps (n, 1, *layer's space) as (n, 1, *space), by linear interpolation with corners not aligned."""
    return functional.interpolate(heat, size=space, mode=INTERPOLATION[len(space)], align_corners=False)


def noted(values: Tensor) -> Explanation:
    """Maps (n, c or 1, *space) with the note of those that are zero everywhere."""
    dark = (values.detach() == 0).flatten(1).all(1)
    return Explanation(values, notes={"degenerate": dark.double().tolist()})
