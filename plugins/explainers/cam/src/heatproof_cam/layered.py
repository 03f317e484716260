"""The base class of explainers by one layer, and functions that weight, resize and note its maps."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import LayerGradient, gradients
from heatproof.records import Explanation

Interpolation = Literal["linear", "nearest"]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial dimensions → the name of linear interpolation in torch."""


class LayeredParams(Params):
    """``layer``: the module name of a layer, ``last``, or ``all`` for one heatmap per layer.

    ``interpolation`` resizes the map to the image: ``linear``, or ``nearest``, which repeats values, as captum's guided
    Grad-CAM does by default.
    """

    layer: str = "last"
    interpolation: Interpolation = "linear"


class RectifiedParams(LayeredParams):
    """The layer, and whether ``relu`` sets the negative pixels of the map to zero.

    The other settings are those of ``LayeredParams``.
    """

    relu: bool = True


ROUNDING = 8
"""The machine epsilons, relative to the largest value, by which interpolated equal values may differ."""

P = TypeVar("P", bound=LayeredParams, covariant=True)
R = TypeVar("R", bound=RectifiedParams, covariant=True)


class AtLayer(Explainer[P]):
    """A map computed at one layer of a network, or at each of them.

    It is resized to the image, by default by linear interpolation (corners not aligned), and never scaled. A map that
    is the same everywhere has the note ``degenerate`` 1. The activations of a convolution are those after its
    normalisation and activation function. ``last`` is the last grid of values before the network pools it.
    """

    requires = frozenset({"layers"})

    def expand(self, model: Model) -> Iterable[Self]:
        """One explainer per layer if the layer is ``all``, else only this one."""
        if self.params.layer != "all":
            return (self,)
        return tuple(self.with_(layer=layer) for layer in model.layers())

    def layers(self, model: Model) -> tuple[str, ...]:
        """The full name of the layer; raises ``ModelError`` if the model has no such layer."""
        return (model.layer(self.params.layer),)

    def resized(self, heat: Tensor, batch: Batch) -> Explanation:
        """The map (n, 1, *layer's space) on the grid of the images, with notes."""
        return with_notes(resize(heat, batch.space, self.params.interpolation))


class Layered(AtLayer[P]):
    """A map computed from the activations of one layer and their gradients."""

    requires = frozenset({"gradients", "layers"})
    shares = "gradients"

    @property
    def traits(self) -> frozenset[str]:
        """Differentiable."""
        return frozenset({"differentiable"})

    @abstractmethod
    def heat(self, layer: LayerGradient) -> Tensor:
        """The map (n, 1, *layer's space)."""
        raise NotImplementedError

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        layer = gradients(batch).layers[batch.model.layer(self.params.layer)]
        return self.resized(self.heat(layer), batch)


class Rectified(Layered[R]):
    """A map of evidence for and against the target, of which ReLU leaves the evidence for it."""

    @property
    def traits(self) -> frozenset[str]:
        """Differentiable; signed without ReLU."""
        return frozenset({"differentiable"} if self.params.relu else {"differentiable", "signed"})

    @abstractmethod
    def evidence(self, layer: LayerGradient) -> Tensor:
        """The signed map (n, 1, *layer's space)."""
        raise NotImplementedError

    def heat(self, layer: LayerGradient) -> Tensor:
        """The signed map, or its positive part."""
        return rectified(self.evidence(layer), self.params)


def rectified(heat: Tensor, params: RectifiedParams) -> Tensor:
    """The map, or with ``relu`` its positive part."""
    return heat.relu() if params.relu else heat


def spatial_axes(layer: LayerGradient) -> tuple[int, ...]:
    """The spatial axes of a layer's tensors."""
    return tuple(range(2, layer.activation.ndim))


def equal_up_to_rounding(values: Tensor) -> Tensor:
    """Whether the values of each channel (n, c, value) are equal but for the rounding of an interpolation (n,) bool."""
    rounding = ROUNDING * torch.finfo(values.dtype).eps * values.abs().amax((1, 2))
    equal: Tensor = (values.amax(2) - values.amin(2)).amax(1) <= rounding
    return equal


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """The sum over channels of weights (n, channel, 1, …) times values (n, channel, *space), as (n, 1, *space)."""
    return (weights * values).sum(1, keepdim=True)


def resize(heat: Tensor, space: tuple[int, ...], interpolation: Interpolation = "linear") -> Tensor:
    """Resize maps (n, 1, *layer's space) to (n, 1, *space); linear interpolation does not align the corners."""
    if interpolation == "nearest":
        return functional.interpolate(heat, size=space, mode="nearest")
    return functional.interpolate(heat, size=space, mode=LINEAR[len(space)], align_corners=False)


def with_notes(values: Tensor) -> Explanation:
    """Maps (n, c or 1, *space) with the note ``degenerate``: 1 for a map that is the same everywhere, else 0.

    Differences by the rounding of an interpolation do not count.
    """
    constant = equal_up_to_rounding(values.detach().flatten(2))
    return Explanation(values, notes={"degenerate": constant.double().tolist()})
