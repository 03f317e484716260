"""Logits of images moved a small step along the gradient of a statistic (partially black box)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.records import Array

from .discriminators import DISCRIMINATORS


def perturbed_logits(
    batch: Batch, logarithms: Callable[[Tensor], Tensor], epsilon: float, doubting: bool
) -> Mapping[str, Array]:
    """Compute per statistic the logits (class,) of the image moved by ``epsilon``, in prepared units, in every pixel.

    Pixels move against the sign of the gradient of the statistic's logarithm, or along it when ``doubting``.
    ``logarithms`` turns logits into log-probabilities. Takes one forward for all statistics, then a backward and a
    forward for each.
    """
    images = batch.images.detach().requires_grad_()
    with torch.enable_grad():
        logs = logarithms(batch.forward(images)[0])
        signs = {name: _sign(doubt(logs), images) for name, doubt in DISCRIMINATORS.items()}
    if not doubting:
        epsilon = -epsilon
    with torch.no_grad():
        logits = {name: batch.forward(batch.images + epsilon * sign)[0][0] for name, sign in signs.items()}
    return {name: values.double().cpu().numpy() for name, values in logits.items()}


def _sign(doubt: Tensor, images: Tensor) -> Tensor:
    return torch.autograd.grad(doubt.sum(), images, retain_graph=True)[0].sign()
