"""Checks Grad-CAM against closed forms, captum and plain autograd, and the cost of a sweep over all layers."""

import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.views import View
from heatproof.testing import conforms, toys
from heatproof_cam.gradcam import GradCam

FIRST = [[1.0, 2.0], [3.0, 4.0]]
SECOND = [[0.0, 1.0], [1.0, 0.0]]


class Block(nn.Module):
    """Convolutions with BatchNorm, a ReLU module for each, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(6)
        self.first_relu = nn.ReLU()
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(6)
        self.added_relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.third = nn.Conv2d(6, 8, 3, stride=2)
        self.third_relu = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first_relu(self.first_norm(self.first(images)))
        values = self.pool(self.added_relu(self.second_norm(self.second(values)) + values))
        return self.head(self.third_relu(self.third(values)).mean((2, 3)))


def calibrated(network: nn.Module, size: int = 64) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    return toys.calibrated(network, random_images(8, size))


def random_images(count: int = 3, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def identity_model(weights: tuple[float, float], dimensions: int = 2) -> Model:
    """Identity convolution, global mean, and a linear layer with bias 0.5."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions](2, 2, 1, bias=False)
    convolution.weight.data = torch.eye(2)[(..., *(None,) * dimensions)].clone()
    head = nn.Linear(2, 1)
    head.weight.data = torch.tensor([weights])
    head.bias.data = torch.tensor([0.5])
    mean = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dimensions](1)
    return Model.of(nn.Sequential(convolution, mean, nn.Flatten(), head).double(), "a")


def explained(model: Model, images: Tensor, targets: list[int], layer: str = "last"):
    explainer = GradCam(layer=layer)
    ids = [str(index) for index in range(len(images))]
    return explainer(Batch(model, ids, images, targets, layers=explainer.layers(model)))


@conforms(GradCam(), GradCam(layer="all"))
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("weights", "score", "expected", "degenerate"),
    [
        ((2.0, -1.0), 5.0, [[0.5, 0.75], [1.25, 2.0]], 0.0),
        ((-2.0, -1.0), -5.0, [[0.0, 0.0], [0.0, 0.0]], 1.0),
    ],
)
def test_an_identity_convolution_has_its_closed_form(weights, score, expected, degenerate):
    model = identity_model(weights)
    images = torch.tensor([[FIRST, SECOND]], dtype=torch.float64)
    batch = Batch(model, ["a"], images, [0], layers=("0",))
    explanation = GradCam()(batch)
    assert float(batch.score(images)) == score
    assert explanation.values[0, 0].tolist() == expected
    assert explanation.notes == {"degenerate": [degenerate]}


def test_a_volume_has_the_same_closed_form():
    images = torch.tensor([[[FIRST], [SECOND]]], dtype=torch.float64)
    explanation = explained(identity_model((2.0, -1.0), 3), images, [0])
    assert explanation.values[0, 0].tolist() == [[[0.5, 0.75], [1.25, 2.0]]]


@pytest.mark.parametrize(
    ("layer", "module"), [("first", "first_relu"), ("second", "second_norm"), ("third", "third_relu")]
)
def test_captum_agrees_on_a_residual_network(layer, module):
    torch.manual_seed(3)
    network = calibrated(Block())
    _assert_captum_agrees(network, layer, network.get_submodule(module))


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        pytest.param("conv1", "relu", marks=pytest.mark.slow),
        pytest.param("layer2.1.conv2", "layer2.1.bn2", marks=pytest.mark.slow),
        ("last", "layer4"),
    ],
)
def test_captum_agrees_on_resnet18(layer, module):
    torch.manual_seed(0)
    network = calibrated(models.resnet18(num_classes=3))
    _assert_captum_agrees(network, layer, network.get_submodule(module))


def _assert_captum_agrees(network: nn.Module, layer: str, module: nn.Module) -> None:
    targets = [2, 0, 1]
    actual = explained(Model.of(network, "abc"), random_images(), targets, layer).values
    heat = LayerGradCam(network, module).attribute(random_images(), torch.tensor(targets), relu_attributions=True)
    expected = LayerAttribution.interpolate(heat, (64, 64), "bilinear").detach()
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize(("interpolation", "mode"), [("linear", "bilinear"), ("nearest", "nearest")])
def test_captum_agrees_without_relu(interpolation, mode):
    """Captum's ``LayerGradCam`` applies no ReLU by default."""
    torch.manual_seed(3)
    network = calibrated(Block())
    model = Model.of(network, "abc")
    explainer = GradCam(layer="third", relu=False, interpolation=interpolation)
    targets = torch.tensor([2, 0, 1])
    actual = explainer(Batch(model, list("abc"), random_images(), targets, layers=("third",))).values
    heat = LayerGradCam(network, network.third_relu).attribute(random_images(), targets)
    expected = LayerAttribution.interpolate(heat, (64, 64), mode).detach()
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8
    assert actual.amin() < 0
    assert "signed" in explainer.traits
    assert "signed" not in GradCam().traits


def test_a_convolution_is_explained_after_its_norm_and_activation():
    torch.manual_seed(0)
    network = calibrated(models.resnet18(num_classes=3))
    block = network.layer3[1]
    activations = []

    def rectified(module, arguments, output):
        activations.append(torch.relu(output))
        return activations[0]

    handle = block.bn1.register_forward_hook(rectified)
    scores = network(random_images()).gather(1, torch.tensor([[0], [1], [2]])).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(scores, activations[0])
    weighted = (gradient.mean((2, 3), keepdim=True) * activations[0]).sum(1, keepdim=True).clamp_min(0)
    expected = functional.interpolate(weighted, size=(64, 64), mode="bilinear", align_corners=False).detach()
    actual = explained(Model.of(network, "abc"), random_images(), [0, 1, 2], "layer3.1.conv1").values
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_a_sweep_over_all_layers_takes_one_forward_and_one_backward(monkeypatch):
    model = Model.of(calibrated(models.resnet18(num_classes=3)), "abc")
    sweep = list(GradCam(layer="all").expand(model))
    layers = [layer for explainer in sweep for layer in explainer.layers(model)]
    batch = Batch(model, ["a", "b"], random_images(2), [0, 1], layers=layers)
    assert len(batch.view.merged) == 20
    calls = []
    forward = View.__call__
    backward = torch.autograd.grad
    monkeypatch.setattr(
        View, "__call__", lambda *arguments, **settings: calls.append("forward") or forward(*arguments, **settings)
    )
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: calls.append("backward") or backward(*arguments, **settings),
    )
    maps = [explainer(batch).values for explainer in sweep]
    assert sorted(calls) == ["backward", "forward"]
    assert layers == list(model.layers())
    assert len(maps) == 20
    assert all(values.shape == (2, 1, 64, 64) and float(values.min()) >= 0 for values in maps)
    alone = explained(model, random_images(2), [0, 1], "layer1.0.conv2").values
    torch.testing.assert_close(maps[layers.index("layer1.0.conv2")], alone, rtol=1e-12, atol=1e-15)


def test_one_layer_expands_to_itself():
    explainer = GradCam(layer="stem")
    assert list(explainer.expand(toys.Residual())) == [explainer]
    assert [explainer.params.layer for explainer in GradCam(layer="all").expand(toys.Residual())] == [
        "stem",
        "block",
        "last",
    ]


def test_last_is_the_grid_that_is_pooled():
    assert GradCam().layers(toys.Residual()) == ("last",)
    assert GradCam().layers(toys.Regions()) == ("3",)


def test_an_unknown_layer_suggests_names():
    with pytest.raises(ModelError, match=r"Residual has no layer 'steam'; did you mean 'stem'"):
        GradCam(layer="steam").layers(toys.Residual())


def test_a_network_without_convolutions_is_undefined():
    verdict = GradCam().verdict(toys.Linear())
    assert verdict.level == "undefined"
    assert "needs layers, which Linear does not offer" in verdict.reason


def test_only_the_degenerate_sample_is_noted():
    images = torch.tensor([[FIRST, SECOND], [[[0.0] * 2] * 2, FIRST]], dtype=torch.float64)
    assert explained(identity_model((2.0, -1.0)), images, [0, 0]).notes == {"degenerate": [0.0, 1.0]}
