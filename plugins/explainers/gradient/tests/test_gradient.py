"""Checks gradient and image times gradient against closed forms, captum and plain autograd."""

import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import Saliency
from torch import Tensor, nn
from torchvision import models

from heatproof import passes
from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.input_x_gradient import InputXGradient

REFERENCES = (
    (Gradient(), lambda network: lambda images, targets: Saliency(network).attribute(images, targets, abs=False)),
    (InputXGradient(), lambda network: CaptumInputXGradient(network).attribute),
)


@pytest.fixture(scope="module", params=["residual", pytest.param("resnet18", marks=pytest.mark.slow)])
def network(request) -> nn.Module:
    """A network with BatchNorm and skip connections, in float64."""
    torch.manual_seed(0)
    if request.param == "residual":
        return in_float64(toys.Residual()).network
    network = models.resnet18(num_classes=3).double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(random_images(count=8))
    return network.eval()


def random_images(count: int = 3, size: int = 48) -> Tensor:
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@conforms(Gradient(), InputXGradient())
def test_conformance(check):
    check()


@pytest.mark.parametrize(("explainer", "reference"), REFERENCES, ids=["gradient", "input_x_gradient"])
def test_captum_agrees(network, explainer, reference):
    targets = torch.tensor([2, 0, 1])
    actual = explainer(Batch(Model.of(network, "abc"), ["a", "b", "c"], random_images(), targets)).values
    expected = reference(network)(random_images().requires_grad_(), targets).detach()
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize("side", [0, 1])
def test_a_linear_model_gives_its_weights(side):
    model = in_float64(toys.Linear())
    actual = Gradient()(Batch(model, ["a", "b"], random_images(2, toys.GRID), [side] * 2)).values
    assert torch.equal(actual, model.weights(side).double().expand(2, -1, -1, -1))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_image_times_gradient_sums_to_the_score_without_biases(dimensions):
    model = in_float64(toys.Piecewise(dimensions=dimensions))
    images = torch.rand(
        4, 3, *(toys.GRID,) * dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    batch = Batch(model, list("abcd"), images, [0, 1, 1, 0])
    sums = InputXGradient()(batch).values.flatten(1).sum(1)
    torch.testing.assert_close(sums, batch.score(images), rtol=1e-10, atol=0)


def test_both_share_one_pass(monkeypatch):
    calls = []
    backward = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: calls.append("backward") or backward(*arguments, **settings),
    )
    batch = Batch(toys.Residual(), ["a"], torch.rand(1, 3, 16, 16), [0])
    gradient = Gradient()(batch).values
    product = InputXGradient()(batch).values
    assert len(calls) == 1
    assert torch.equal(product, batch.images * gradient)
    assert passes.gradients(batch).images is gradient


def test_each_target_has_its_own_map():
    batch = Batch(in_float64(toys.Residual()), ["a", "b", "c"], random_images(1, 16).expand(3, -1, -1, -1), [0, 1, 2])
    maps = Gradient()(batch).values
    alone = [Gradient()(batch.select([index])).values[0] for index in range(3)]
    assert not torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps, torch.stack(alone), rtol=1e-12, atol=1e-14)
