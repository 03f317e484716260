"""Logits of images moved a small step along the gradient of a statistic (partially black box)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.records import Array


def doubt_alpha(logs: Tensor) -> Tensor:
    """log((1 - g) / g) from log-probabilities (n, class), g the sum of their squares."""
    return torch.logsumexp(logs + _others(logs), dim=1) - torch.logsumexp(2 * logs, dim=1)


def doubt_beta(logs: Tensor) -> Tensor:
    """log((1 - p) / p) from log-probabilities (n, class), p the largest probability."""
    largest = logs.argmax(1, keepdim=True)
    return (_others(logs) - logs).gather(1, largest)[:, 0]


def _others(logs: Tensor) -> Tensor:
    """The log-probability (n, class) of all other classes together, without the difference 1 - p."""
    diagonal = torch.eye(logs.shape[1], dtype=torch.bool, device=logs.device)
    return logs[:, None, :].masked_fill(diagonal, -torch.inf).logsumexp(2)


DOUBTS: Mapping[str, Callable[[Tensor], Tensor]] = {"alpha": doubt_alpha, "beta": doubt_beta}


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
        signs = {name: _sign(doubt(logs), images) for name, doubt in DOUBTS.items()}
    if not doubting:
        epsilon = -epsilon
    with torch.no_grad():
        logits = {name: batch.forward(batch.images + epsilon * sign)[0][0] for name, sign in signs.items()}
    return {name: values.double().cpu().numpy() for name, values in logits.items()}


def _sign(doubt: Tensor, images: Tensor) -> Tensor:
    return torch.autograd.grad(doubt.sum(), images, retain_graph=True)[0].sign()
