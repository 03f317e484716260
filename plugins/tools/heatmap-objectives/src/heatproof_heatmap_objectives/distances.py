"""Distances of maps, one value per sample, that stay defined and differentiable for maps of zeros."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Distance = Literal["bce", "mse"]

CLAMP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logarithm."""
UNIFORM = 1e-6
"""The share of a uniform map that is mixed into a heatmap, so that missing heat costs a finite amount."""


def of_logits(logits: Tensor, target: Tensor, distance: Distance = "bce") -> Tensor:
    """Compute the distance (n,) of logits per pixel from a target in [0, 1], both (n, 1, *space).

    ``bce`` is the binary cross-entropy with logits, whose least value for a target that is neither 0 nor 1 is the
    target's entropy. ``mse`` is the mean squared error of the probabilities.

    >>> of_logits(torch.tensor([[0.0, 2.0]], dtype=torch.float64), torch.tensor([[0.5, 1.0]])).item()
    0.410037...
    """
    if distance == "bce":
        return per_sample(functional.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none"))
    return per_sample((logits.sigmoid() - target).square())


def of_maps(values: Tensor, target: Tensor, distance: Distance = "bce") -> Tensor:
    """Compute the distance (n,) of maps in [0, 1] from a target in [0, 1], both (n, 1, *space).

    ``bce`` is the binary cross-entropy of probabilities, clamped to [1e-6, 1 - 1e-6]; clamped pixels have no gradient.
    """
    if distance == "bce":
        values = values.clamp(CLAMP, 1 - CLAMP)
        return per_sample(functional.binary_cross_entropy(values, target.to(values), reduction="none"))
    return per_sample((values - target).square())


def missing_mass(heat: Tensor, target: Tensor) -> Tensor:
    """Compute the share (n,) of a heatmap ≥ 0 that lies outside of a target in [0, 1], both (n, 1, *space).

    This is 1 less the energy-based pointing game (Rao et al. 2023). It is 1 for a heatmap of zeros.
    """
    inside = (shares(heat) * target).flatten(1).sum(1)
    return 1 - inside


def decorrelation(heat: Tensor, target: Tensor) -> Tensor:
    """Compute 1 less Pearson's correlation (n,) of two maps (n, 1, *space); 1 where one of them is constant."""
    first = _centred(heat)
    second = _centred(target)
    products = first.square().sum(1) * second.square().sum(1)
    defined = products > 0
    norms = torch.where(defined, products, 1).sqrt()
    return 1 - torch.where(defined, (first * second).sum(1) / norms, 0)


def divergence(heat: Tensor, target: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence (n,) in nats of a target ≥ 0 from a heatmap ≥ 0, both (n, 1, *space).

    Both are divided by their sums; a millionth of a uniform map is mixed into the heatmap. A heatmap of zeros counts as
    uniform, and a target of zeros has no divergence.
    """
    pixels = heat[0].numel()
    heatmap = shares(heat)
    uniform = heat.flatten(1).amax(1).reshape(-1, *(1,) * (heat.ndim - 1)) <= 0
    heatmap = torch.where(uniform, 1 / pixels, (1 - UNIFORM) * heatmap + UNIFORM / pixels)
    density = shares(target)
    return (torch.xlogy(density, density) - density * heatmap.log()).flatten(1).sum(1)


def shares(values: Tensor) -> Tensor:
    """Divide maps ≥ 0 (n, …) by their sums; maps of zeros stay zeros."""
    values = rescaled(values)
    sums = _of_maps(values.flatten(1).sum(1), values)
    return values / torch.where(sums > 0, sums, 1)


def unit_range(maps: Tensor) -> Tensor:
    """Move maps (n, …) to [0, 1], each by its smallest and largest value; constant maps become zeros.

    >>> unit_range(torch.tensor([[2.0, 4.0, 3.0], [4.0, 4.0, 4.0]])).tolist()
    [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    """
    maps = rescaled(maps)
    low = _of_maps(maps.flatten(1).amin(1), maps)
    span = _of_maps(maps.flatten(1).amax(1), maps) - low
    return torch.where(span > 0, maps - low, 0) / torch.where(span > 0, span, 1)


def rescaled(maps: Tensor) -> Tensor:
    """Divide maps (n, …) by their largest absolute values, as constants, for functions that scale does not change.

    Gradients of such functions stay the same, and squares of small maps do not vanish. Maps of zeros stay zeros.
    """
    largest = _of_maps(maps.detach().flatten(1).abs().amax(1), maps)
    return maps / torch.where(largest > 0, largest, 1)


def per_sample(values: Tensor) -> Tensor:
    """Compute the mean (n,) of each sample's values (n, …)."""
    return values.flatten(1).mean(1)


def _centred(maps: Tensor) -> Tensor:
    """The values (n, pixel) of maps less their means; those of constant maps are exactly zero."""
    values = rescaled(maps).flatten(1)
    constant = values.detach().amax(1, keepdim=True) == values.detach().amin(1, keepdim=True)
    return torch.where(constant, 0, values - values.mean(1, keepdim=True))


def _of_maps(numbers: Tensor, maps: Tensor) -> Tensor:
    """Numbers (n,) as (n, 1, …), to combine them with maps (n, …)."""
    return numbers.reshape(-1, *(1,) * (maps.ndim - 1))


Measure = Literal["mass", "correlation", "kl", "bce", "mse"]
MEASURES: Mapping[Measure, Callable[[Tensor, Tensor], Tensor]] = {
    "mass": lambda heat, target: missing_mass(heat.clamp_min(0), target),
    "correlation": decorrelation,
    "kl": lambda heat, target: divergence(heat.clamp_min(0), target),
    "bce": lambda heat, target: of_maps(unit_range(heat.clamp_min(0)), target, "bce"),
    "mse": lambda heat, target: of_maps(unit_range(heat.clamp_min(0)), target, "mse"),
}
"""Name of a disagreement → the function that computes it (n,) for signed heatmaps and targets (n, 1, *space)."""
