"""Respond-CAM at any layer."""

from dataclasses import replace

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import LayerGradient, gradients
from heatproof.records import Explanation
from heatproof_shared_passes.sampling import norms

from .layered import Layered, LayeredParams, spatial_axes, weighted_sum

EPSILON = 1e-10
"""Added to sum(A), which is zero for a channel without activation."""
CANCELLING = 100
"""A channel cancels if sum(|A|) is more than this multiple of |sum(A)|: so much does its weight amplify errors."""
ILL_CONDITIONED = 0.1
"""The share of cancelling channels beyond which a map is ill-conditioned."""


class RespondCam(Layered[LayeredParams]):
    """Grad-CAM for volumes, with a map that sums to the score (Zhao et al. 2018).

    The weight of a channel A with gradient g is sum(A g) / sum(A): the mean gradient, weighted by the activation. There
    is no ReLU; with it the map is XGrad-CAM (Fu et al. 2020). On the grid of the layer the map sums to the score minus
    the bias if the rest of the network is linear or scales with its input. Resizing to the image multiplies that sum.

    At a layer without activation sum(A) can cancel to almost nothing, and the weight is then arbitrarily large. The
    note ``cancelling_share`` is the L2 norm of what such channels add to the map on the layer's grid, those with
    sum(|A|) above 100 times |sum(A)|, relative to that of the map; the note ``conditioning`` is ``ill-conditioned``
    where it exceeds 0.1, else ``well-conditioned``.
    """

    revision = 3
    traits = frozenset({"signed", "differentiable"})

    def heat(self, layer: LayerGradient) -> Tensor:
        """The sum over channels of weight * activation."""
        return contribution_map(layer)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        layer = gradients(batch).layers[batch.model.layer(self.params.layer)]
        return with_conditioning(super().explain(batch), layer)


def contribution_map(layer: LayerGradient) -> Tensor:
    """The sum over channels of weight times activation (n, 1, *layer's space)."""
    return weighted_sum(_weights(layer), layer.activation)


def with_conditioning(explanation: Explanation, layer: LayerGradient) -> Explanation:
    """Add the notes on channels whose activations cancel."""
    share = cancelling_share(layer).tolist()
    words = ["ill-conditioned" if value > ILL_CONDITIONED else "well-conditioned" for value in share]
    return replace(explanation, notes={**explanation.notes, "cancelling_share": share, "conditioning": words})


def cancelling_share(layer: LayerGradient) -> Tensor:
    """The L2 norm of the part of the map (n,) that cancelling channels add, relative to that of the map; 0 without."""
    values = layer.activation.detach()
    axes = spatial_axes(layer)
    cancels = values.abs().sum(axes, keepdim=True) > CANCELLING * values.sum(axes, keepdim=True).abs()
    weights = _weights(layer).detach()
    part = norms(weighted_sum(weights * cancels, values))
    whole = norms(weighted_sum(weights, values))
    return torch.where(part > 0, part / whole, 0)


def _weights(layer: LayerGradient) -> Tensor:
    """The weight of each channel (n, channel, 1, …)."""
    axes = spatial_axes(layer)
    contribution = (layer.activation * layer.gradient).sum(axes, keepdim=True)
    return contribution / (layer.activation.sum(axes, keepdim=True) + EPSILON)
