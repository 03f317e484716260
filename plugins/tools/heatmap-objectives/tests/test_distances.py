import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from heatproof_heatmap_objectives.distances import (
    MEASURES,
    decorrelation,
    divergence,
    missing_mass,
    of_logits,
    of_maps,
    rescaled,
    unit_range,
)

RNG = np.random.default_rng(0)
HEAT = RNG.normal(size=(3, 1, 4, 5))
TARGET = RNG.uniform(size=(3, 1, 4, 5))


def plain(measure: str, heat: np.ndarray, target: np.ndarray) -> float:
    """A second implementation for one map, by loops over pixels."""
    if measure == "correlation":
        return 1 - np.corrcoef(heat.ravel(), target.ravel())[0, 1]
    heat = np.maximum(heat, 0).ravel()
    target = target.ravel()
    if measure == "mass":
        return sum(value * (1 - inside) for value, inside in zip(heat, target)) / sum(heat)
    if measure == "kl":
        observed = target / target.sum()
        predicted = (1 - 1e-6) * heat / heat.sum() + 1e-6 / heat.size
        return sum(first * math.log(first / second) for first, second in zip(observed, predicted))
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    if measure == "mse":
        return sum((value - inside) ** 2 for value, inside in zip(heat, target)) / heat.size
    clamped = [min(max(value, 1e-6), 1 - 1e-6) for value in heat]
    logarithms = [
        inside * math.log(value) + (1 - inside) * math.log(1 - value) for value, inside in zip(clamped, target)
    ]
    return -sum(logarithms) / heat.size


def test_binary_cross_entropy_with_logits():
    """By hand: (ln 2 + ln(1 + e^-2)) / 2 for logits 0 and 2 and targets 1/2 and 1."""
    logits = torch.tensor([[0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.5, 1.0]], dtype=torch.float64)
    assert of_logits(logits, target).item() == pytest.approx(0.41003760, abs=5e-9)
    assert of_logits(logits, target).item() == pytest.approx((math.log(2) + math.log1p(math.exp(-2))) / 2, rel=1e-14)
    soft = torch.tensor([[0.3, 0.9]], dtype=torch.float64)
    entropy = -(soft * soft.log() + (1 - soft) * (1 - soft).log()).mean()
    assert of_logits(soft.logit(), soft).item() == pytest.approx(entropy.item(), rel=1e-12)
    assert of_maps(soft, soft).item() == pytest.approx(entropy.item(), rel=1e-12)
    assert of_logits(soft.logit(), target, "mse").item() == pytest.approx((0.2**2 + 0.1**2) / 2, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_agree_with_loops_and_with_finite_differences(measure):
    heat = torch.from_numpy(HEAT).requires_grad_()
    target = torch.from_numpy(TARGET)
    values = MEASURES[measure](heat, target)
    assert values.tolist() == pytest.approx([plain(measure, *maps) for maps in zip(HEAT, TARGET)], rel=1e-10)
    (gradient,) = torch.autograd.grad(values.sum(), heat)
    moved = heat.detach() + 1e-6 * torch.eye(60, dtype=torch.float64).reshape(60, 3, 1, 4, 5)
    total = values.sum().item()
    differences = [(MEASURES[measure](ahead, target).sum().item() - total) / 1e-6 for ahead in moved]
    assert gradient.flatten().tolist() == pytest.approx(differences, rel=1e-4, abs=1e-6)
    alone = MEASURES[measure](heat[1:2], target[1:2])
    assert alone.item() == values[1].item()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e25])
def test_the_scale_of_a_heatmap_does_not_matter(measure, scale):
    """Also in float32, in which squares of such values are 0 or infinite."""
    heat = torch.from_numpy(HEAT).float()
    target = torch.from_numpy(TARGET).float()
    scaled = (scale * heat).requires_grad_()
    values = MEASURES[measure](scaled, target)
    assert values.tolist() == pytest.approx(MEASURES[measure](heat, target).tolist(), rel=1e-4)
    (gradient,) = torch.autograd.grad(values.sum(), scaled)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("mass", 1), ("correlation", 1), ("kl", math.log(20) - 1.5 * math.log(2)), ("mse", 0.21875 / 5), ("bce", None)],
)
@pytest.mark.parametrize("value", [0.0, -1.0, 0.1])
def test_constant_heatmaps_have_a_value_and_no_infinite_gradient(measure, expected, value):
    """The target is 1/4, 1/4, 1/2 and 0 elsewhere: its entropy is 1.5 ln 2, its mean square 0.375 / 20."""
    heat = torch.full((1, 1, 4, 5), value, dtype=torch.float64, requires_grad=True)
    target = torch.zeros((1, 1, 4, 5), dtype=torch.float64)
    target[0, 0, 0, :3] = torch.tensor([0.25, 0.25, 0.5])
    losses = MEASURES[measure](heat, target)
    if measure == "mse":
        expected = 0.375 / 20
    if measure == "bce":
        expected = float(functional.binary_cross_entropy(torch.full_like(target, 1e-6), target))
    if measure == "mass" and value > 0:
        expected = 19 / 20
    assert losses.item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(losses, heat)
    assert bool(gradient.isfinite().all())


def test_empty_targets_have_defined_values():
    heat = torch.from_numpy(HEAT)
    nothing = torch.zeros_like(heat)
    assert missing_mass(heat.clamp_min(0), nothing).tolist() == [1, 1, 1]
    assert decorrelation(heat, nothing).tolist() == [1, 1, 1]
    assert divergence(heat.clamp_min(0), nothing).tolist() == [0, 0, 0]


def test_maps_are_scaled_one_by_one():
    maps = torch.stack([torch.from_numpy(HEAT[0]), torch.zeros(1, 4, 5), 1e-300 * torch.from_numpy(HEAT[1])])
    scaled = unit_range(maps)
    assert scaled.flatten(1).amin(1).tolist() == [0, 0, 0]
    assert scaled.flatten(1).amax(1).tolist() == [1, 0, 1]
    assert rescaled(maps).flatten(1).abs().amax(1).tolist() == pytest.approx([1, 0, 1])
