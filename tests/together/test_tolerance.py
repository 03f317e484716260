"""Error estimates that tolerances rely on: on the packaged network the true error is at most 1.5 times as large."""

import pytest
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.testing.bench import in_float64
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lesionnet.lesionnet import LesionNet
from heatproof_phantom.phantom import Phantom
from heatproof_smoothgrad.smoothgrad import SmoothGrad

LIMIT = 1.5
CALM = "synthetic_00008_left"
PEAKED = "synthetic_00019_right"
"""Eyes of grade 1 and 4; the gradient has narrow peaks in the middle of the second eye."""
MOST_PASSES = {CALM: 25, PEAKED: 75}


@pytest.fixture(scope="module")
def model() -> LesionNet:
    return in_float64(LesionNet())


def batch(model: LesionNet, id: str, size: int = 448, seed: int = 0) -> Batch:
    """The middle of a phantom eye; one image in a pass."""
    image = torch.from_numpy(model.prepare(Phantom().load(id)).image).double()
    start = (image.shape[-1] - size) // 2
    image = image[:, start : start + size, start : start + size].contiguous()
    return Batch(model, [id], image[None], [0], rows=1, seed=seed)


def distance(first: Tensor, second: Tensor) -> float:
    """The norm of the difference of two maps, relative to the second."""
    return float((first - second).norm() / second.norm())


def integrated(images: Batch, tolerance: float) -> tuple[int, float, float]:
    """Passes, estimate and true error of integrated gradients."""
    explanation = IntegratedGradients(tolerance=tolerance)(images)
    exact = IntegratedGradients(steps=243)(images).values
    assert explanation.notes["stopped_by"] == ["tolerance"]
    assert explanation.notes["relative_error"][0] <= tolerance
    return explanation.notes["passes"][0], explanation.notes["relative_error"][0], distance(explanation.values, exact)


def smooth(images: Batch, other: Batch, tolerance: float, antithetic: bool) -> tuple[float, float]:
    """Estimate and true error of SmoothGrad; the error of the reference is subtracted."""
    explanation = SmoothGrad(tolerance=tolerance, antithetic=antithetic)(images)
    exact = SmoothGrad(samples=100, antithetic=True)(other)
    assert explanation.notes["stopped_by"] == ["tolerance"]
    squares = distance(explanation.values, exact.values) ** 2 - exact.notes["relative_error"][0] ** 2
    return explanation.notes["relative_error"][0], max(squares, 0) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("id", [CALM, PEAKED])
def test_the_error_of_integrated_gradients_in_the_middle_of_eyes(model, id):
    passes, estimate, error = integrated(batch(model, id, 112), 0.05)
    assert 0.1 * estimate < error <= LIMIT * estimate
    assert passes <= MOST_PASSES[id]


@pytest.mark.slow
@pytest.mark.parametrize("antithetic", [False, True])
def test_the_error_of_smoothgrad_in_the_middle_of_an_eye(model, antithetic):
    pair = (batch(model, PEAKED, 112, seed) for seed in range(2))
    estimate, error = smooth(*pair, 0.3, antithetic)
    assert estimate / LIMIT < error <= LIMIT * estimate


@pytest.mark.slow
def test_the_error_of_integrated_gradients_of_a_whole_eye(model):
    passes, estimate, error = integrated(batch(model, PEAKED), 0.05)
    assert 0.1 * estimate < error <= LIMIT * estimate
    assert passes <= MOST_PASSES[PEAKED]


@pytest.mark.slow
def test_the_error_of_smoothgrad_of_a_whole_eye(model):
    estimate, error = smooth(batch(model, CALM), batch(model, CALM, seed=1), 0.3, antithetic=True)
    assert estimate / LIMIT < error <= LIMIT * estimate
