"""Eigen-CAM at any layer, and the first principal direction of activations."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import activations
from heatproof.records import Explanation

from .layered import AtLayer, RectifiedParams, rectified

TIE = 1e-6
"""Pixels whose magnitudes differ by no more than this share of the largest count as equally large."""


class EigenCamParams(RectifiedParams):
    """The layer, whether activations are ``centred``, and whether ``relu`` sets negative pixels to zero.

    ``centred`` subtracts the mean of each channel over the pixels before the decomposition, as pytorch-grad-cam does;
    the paper does not. The settings of the layer are those of ``LayeredParams``.
    """

    relu: bool = False
    centred: bool = False


class EigenCam(AtLayer[EigenCamParams]):
    """The activations of a layer along their first principal direction (Muhammad and Yeasin 2020).

    The map is A v: A are the activations as a matrix (pixel, channel), v is the first right singular vector of A. It
    does not depend on the target: the map shows what is prominent in the layer, whichever class is asked for. A
    decomposition leaves the sign of v open; here the pixel of the largest magnitude is positive, as Chung et al. 2025
    choose, and of several equally large ones the first. Where all activations are positive, so is the whole map.

    Notes: ``explained_share`` is the share of the sum of squared activations along v; ``separation`` is 1 minus the
    ratio of the second to the first singular value. At 0 the direction, and with it the map, is arbitrary.
    """

    traits = frozenset({"targetless"})
    passes = (1, 0)
    shares = "activations"

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        values = activations(batch)[batch.model.layer(self.params.layer)]
        results = [principal(layer, self.params.centred) for layer in values]
        heat = torch.stack([result.heat for result in results])[:, None]
        explanation = self.resized(rectified(heat, self.params), batch)
        shares = [result.explained_share for result in results]
        separations = [result.separation for result in results]
        notes = {**explanation.notes, "explained_share": shares, "separation": separations}
        return replace(explanation, notes=notes)


@dataclass(frozen=True)
class Principal:
    """The activations (*space) of one image along their first principal direction.

    ``explained_share`` and ``separation`` tell how far the others fall behind it.
    """

    heat: Tensor
    explained_share: float
    separation: float


@torch.no_grad()
def principal(values: Tensor, centred: bool) -> Principal:
    """Decompose the activations (channel, *space) of one image in float64.

    The map is 0 everywhere if they are, and NaN if one of them is not finite.
    """
    matrix = values.flatten(1).T.double()
    if not bool(matrix.isfinite().all()):
        return Principal(values[0] * float("nan"), 0.0, 0.0)
    if centred:
        matrix = matrix - matrix.mean(0)
    left, singular, _ = torch.linalg.svd(matrix, full_matrices=False)
    heat = left[:, 0] * singular[0]
    magnitude = heat.abs()
    largest = int((magnitude >= magnitude.amax() * (1 - TIE)).int().argmax())
    heat = (heat * heat[largest].sign()).reshape(values.shape[1:]).to(values)
    total = float(singular.square().sum())
    if total == 0:
        return Principal(heat, 0.0, 0.0)
    second = float(singular[1]) if len(singular) > 1 else 0.0
    return Principal(heat, float(singular[0].square()) / total, 1 - second / float(singular[0]))
