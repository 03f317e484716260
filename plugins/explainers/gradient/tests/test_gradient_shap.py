"""Checks GradientSHAP against captum with the same draws, expected gradients, and closed forms."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import GradientShap as CaptumGradientShap
from PIL import Image
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.seeding import generator
from heatproof.testing import conforms, toys
from heatproof_gradient.gradient_shap import GradientShap, positions
from heatproof_gradient.integrated_gradients import IntegratedGradients

SPACE = (6, 8)


@cache
def model_of(activation: type[nn.Module] = nn.ReLU) -> Model:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), activation(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 2),
    )  # fmt: skip
    return Model.of(toys.drawn(network, 0).double().eval(), ("a", "b"), Resize(size=SPACE, mean=(0.5,) * 3))


def batch(count: int = 3, **changes: Any) -> Batch:
    """Oblong random images."""
    images = torch.randn(count, 3, *SPACE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ids = [f"id-{index}" for index in range(count)]
    return Batch(model_of(), ids, images, [index % 2 for index in range(count)], **changes)


def write(path: Path, seed: int) -> Tensor:
    """Write a random PNG; returns it as the model prepares it, (1, 3, h, w)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*SPACE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels / 255 - 0.5).movedim(2, 0)[None]


@conforms(GradientShap(samples=2, sigma=0.1))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("rows", "sigma"), [(1, 0.0), (7, 0.3)])
def test_captum_agrees_with_the_same_draws(rows, sigma, tmp_path, monkeypatch):
    """It draws a reference, a position and noise per sample and copy, all copies of a sample one after the other."""
    images = batch(rows=rows, seed=4)
    count = 5
    references = torch.cat([write(tmp_path / f"{index}.png", index) for index in range(4)])
    picks = [generator(4, id, "reference", draw).integers(4) for id in images.ids for draw in range(count)]
    shares = torch.stack([positions(images, draw).flatten() for draw in range(count)], 1).flatten()
    noise = torch.stack([images.noise(draw) for draw in range(count)], 1).flatten(0, 1)
    explanation = GradientShap(baseline=tmp_path, samples=count, sigma=sigma)(images)
    monkeypatch.setattr(np.random, "choice", lambda number, size: np.array(picks))
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: shares.numpy())
    monkeypatch.setattr(torch, "normal", lambda mean, deviation: noise * deviation)
    expected = CaptumGradientShap(images.model.network).attribute(
        images.images, references, n_samples=count, stdevs=sigma, target=images.targets
    )
    assert len(set(picks)) > 1
    torch.testing.assert_close(explanation.values, expected.detach(), rtol=1e-6, atol=1e-8)  # files are in float32


@pytest.mark.parametrize("baseline", [0.5, (0.1, -0.2, 0.3), "mean", "uniform"])
def test_a_plain_loop_agrees_on_every_baseline(baseline):
    images = batch(2)
    count = 3
    low, high = images.images.amin((2, 3), keepdim=True), images.images.amax((2, 3), keepdim=True)
    maps = []
    for draw in range(count):
        noise = torch.stack([images.uniform(3 * draw + channel) for channel in range(3)], 1)
        reference = {
            0.5: torch.tensor(0.5),
            (0.1, -0.2, 0.3): torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64).reshape(3, 1, 1),
            "mean": images.images.mean((2, 3), keepdim=True),
            "uniform": low + (high - low) * noise,
        }[baseline]
        points = (reference + positions(images, draw) * (images.images - reference)).requires_grad_()
        scores = images.model.network(points).gather(1, images.targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(scores, points)
        maps.append((images.images - reference) * gradient)
    parts = torch.stack(maps)
    explanation = GradientShap(baseline=baseline, samples=count)(images)
    torch.testing.assert_close(explanation.values, parts.mean(0), rtol=1e-9, atol=1e-12)
    error = (parts.var(0) / count).sum((1, 2, 3)).sqrt() / parts.mean(0).flatten(1).norm(dim=1)
    assert explanation.notes["relative_error"] == pytest.approx(error.tolist())
    assert "relative_error" not in GradientShap(baseline=baseline, samples=1)(images).notes


def test_many_draws_approach_integrated_gradients_within_the_noted_error():
    images = batch(2)
    expected = IntegratedGradients(baseline=0.2, steps=64)(images).values
    explanation = GradientShap(baseline=0.2, samples=150)(images)
    for actual, exact, error in zip(explanation.values, expected, explanation.notes["relative_error"]):
        assert float((actual - exact).norm() / actual.norm()) <= 3 * error <= 0.3


def test_further_inputs_belong_to_their_sample(gained):
    gain = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    plain = batch(rows=2)
    batch_with_gains = gained(plain, model_of().network, gain, rows=2)
    explainer = GradientShap(samples=3)
    expected = explainer(plain).values * gain[:, None, None, None]
    torch.testing.assert_close(explainer(batch_with_gains).values, expected, rtol=1e-9, atol=1e-12)


def test_traits_cost_identity_and_refusals(tmp_path):
    assert GradientShap().traits == {"seeded", "differentiable", "signed"}
    assert GradientShap(baseline="uniform").traits == {"seeded", "differentiable"}
    assert GradientShap(samples=7).cost(model_of(), SPACE) == (7, 7)
    with pytest.raises(DataError, match="has no image for a reference"):
        GradientShap(baseline=tmp_path)(batch())
    with pytest.raises(HeatproofError, match="samples"):
        GradientShap(samples=0)
    write(tmp_path / "a.png", 0)
    identity = GradientShap(baseline=tmp_path).identity
    write(tmp_path / "a.png", 1)
    assert GradientShap(baseline=tmp_path).identity != identity
