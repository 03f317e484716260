"""Checks class activation maps against closed forms, plain sums over features, and the score."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.passes import gradients, logits
from heatproof.records import Explanation
from heatproof.testing import conforms, toys
from heatproof_cam.cam import Cam
from heatproof_cam.gradcam import GradCam
from heatproof_cam.respond_cam import RespondCam

FIRST = [[1.0, 2.0], [3.0, 4.0]]
SECOND = [[0.0, 1.0], [1.0, 0.0]]
POOLINGS = {
    ("average", 2): nn.AdaptiveAvgPool2d, ("maximum", 2): nn.AdaptiveMaxPool2d,
    ("average", 3): nn.AdaptiveAvgPool3d, ("maximum", 3): nn.AdaptiveMaxPool3d,
}  # fmt: skip


def model_of(network: nn.Module, classes: int = 3) -> Model:
    """A model of a network that may have a mask as its second output."""
    return Model.of(network, map(str, range(classes)), outputs=("logits", "mask"))


class Ending(nn.Module):
    """A convolution, and the ending under test."""

    def __init__(self, ending: object, features: int = 6):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.mask = nn.Conv2d(6, 1, 1)
        self.head = nn.Linear(features, 3)
        self.ending = ending

    def forward(self, images: Tensor) -> object:
        return self.ending(self, self.features(images))


class Scaled(nn.Module):
    """A network with a further input, which scales the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor, gain: Tensor) -> Tensor:
        return self.head((self.features(images) * gain[:, None, None, None]).mean((2, 3)))


ENDINGS = {
    "mean": lambda network, values: network.head(values.mean((2, 3))),
    "mean with negative dimensions": lambda network, values: network.head(
        torch.mean(values, dim=(-1, -2), keepdim=True).flatten(1)
    ),
    "function": lambda network, values: network.head(functional.adaptive_avg_pool2d(values, 1).view(-1, 6)),
    "maximum": lambda network, values: network.head(
        functional.adaptive_max_pool2d(values, (1, 1)).squeeze(-1).squeeze(-1)
    ),
    "numpy's names": lambda network, values: network.head(values.mean(axis=(2, 3), keepdims=True).flatten(1)),
    "flat": lambda network, values: network.head(values.flatten(2).mean(2)),
    "flat by name": lambda network, values: network.head(values.flatten(start_dim=2).mean(dim=-1)),
    "view": lambda network, values: network.head(values.view(values.size(0), values.size(1), -1).mean(-1)),
    "reshape": lambda network, values: network.head(values.reshape((values.shape[0], 6, -1)).mean(2)),
    "flat pool": lambda network, values: network.head(functional.adaptive_avg_pool1d(values.flatten(2), 1).squeeze(-1)),
    "dropout": lambda network, values: network.head(functional.dropout(values.mean((2, 3)), 0.5, network.training)),
    "dictionary": lambda network, values: {"mask": network.mask(values), "logits": network.head(values.mean((2, 3)))},
    "tuple": lambda network, values: (network.head(values.mean((2, 3))), network.mask(values)),
}
OTHER_ENDINGS = {
    "hidden layer": (lambda network, values: network.head(functional.relu(values.mean((2, 3)))), "the output of ReLU"),
    "grid": (
        lambda network, values: network.head(functional.adaptive_avg_pool2d(values, 2).flatten(1)),
        "output_size=2",
    ),
    "rows": (lambda network, values: network.head(values.mean(2).flatten(1)), "the output of Mean"),
    "rows, then columns": (lambda network, values: network.head(values.mean(2).mean(2)), "the output of Mean"),
    "all channels": (lambda network, values: network.head(values.flatten(1).mean(1)), "the output of Mean"),
    "channels": (lambda network, values: network.head(values.mean(1).flatten(1)), "the output of Mean"),
    "window": (
        lambda network, values: network.head(functional.avg_pool2d(values, 8).flatten(1)),
        "AvgPool2d",
    ),
    "no pooling": (lambda network, values: network.head(values.flatten(1)), "the output of ReLU"),
    "no layer": (lambda network, values: values.mean((2, 3)), "the output comes from Mean"),
    "sigmoid": (
        lambda network, values: torch.sigmoid(network.head(values.mean((2, 3)))),
        "the output comes from Sigmoid",
    ),
}


def random_images(count: int = 3, size: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    return toys.drawn(network, 0).double().eval()


def batch_of(model: Model, images: Tensor, targets: list[int], **changes: object) -> Batch:
    return Batch(model, [str(index) for index in range(len(images))], images, targets, **changes)


def explained(network: nn.Module, images: Tensor, targets: list[int], classes: int = 3) -> Explanation:
    return Cam()(batch_of(model_of(network, classes), images, targets))


def identity_network(pooling: str, dimensions: int = 2) -> nn.Module:
    """Identity convolution, global pooling, and a linear layer with weights (2, -1) and bias 0.5."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions](2, 2, 1, bias=False)
    convolution.weight.data = torch.eye(2)[(..., *(None,) * dimensions)].clone()
    head = nn.Linear(2, 1)
    head.weight.data = torch.tensor([[2.0, -1.0]])
    head.bias.data = torch.tensor([0.5])
    return nn.Sequential(convolution, POOLINGS[pooling, dimensions](1), nn.Flatten(), nn.Dropout(), head).double()


@conforms(Cam())
def test_conformance(check):
    check()


@pytest.mark.parametrize(("pooling", "score"), [("average", 5.0), ("maximum", 7.5)])
def test_an_identity_convolution_has_its_closed_form(pooling, score):
    images = torch.tensor([[FIRST, SECOND]], dtype=torch.float64)
    batch = batch_of(model_of(identity_network(pooling), 1), images, [0])
    explanation = Cam()(batch)
    assert float(batch.score(images)) == score
    assert explanation.values[0, 0].tolist() == [[2.0, 3.0], [5.0, 8.0]]
    assert explanation.notes == {"degenerate": [0.0]}


@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_a_volume_has_the_same_closed_form(pooling):
    images = torch.tensor([[[FIRST], [SECOND]]], dtype=torch.float64)
    assert explained(identity_network(pooling, 3), images, [0], 1).values[0, 0].tolist() == [[[2.0, 3.0], [5.0, 8.0]]]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_notation_of_the_pooling_gives_the_weighted_sum(ending):
    network = drawn(Ending(ENDINGS[ending]))
    explanation = explained(network, random_images(), [2, 0, 1])
    features, weights = (values.detach().numpy() for values in (network.features(random_images()), network.head.weight))
    for row, target in enumerate([2, 0, 1]):
        expected = sum(weight * values for weight, values in zip(weights[target], features[row]))
        torch.testing.assert_close(
            explanation.values[row, 0], torch.from_numpy(expected), rtol=1e-10, atol=1e-12
        )  # fmt: skip


@pytest.mark.parametrize("ending", OTHER_ENDINGS)
def test_other_endings_are_undefined(ending):
    network, reason = OTHER_ENDINGS[ending]
    verdict = Cam().verdict(model_of(Ending(network)))
    assert verdict.level == "undefined"
    assert "cam needs a network that ends in a global pooling and one linear layer; here" in verdict.reason
    assert reason in verdict.reason
    with pytest.raises(ModelError, match="cam needs a network that ends in"):
        explained(Ending(network).double(), random_images(), [0, 0, 0])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (toys.Regions(), "here the last linear layer reads the output of ReLU"),
        (toys.Linear(), "needs layers, which Linear does not offer"),
        (model_of(models.vgg11(), 1000), "here the last linear layer reads the output of ReLU"),
        (model_of(models.squeezenet1_1(), 1000), "here the output comes from AdaptiveAvgPool2d"),
    ],
    ids=["regions", "linear", "vgg11", "squeezenet"],
)
def test_networks_of_another_form_are_undefined(model, reason):
    verdict = Cam().verdict(model)
    assert verdict.level == "undefined"
    assert reason in verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "level"), [("resnet18", "exact"), ("mobilenet_v3_small", "undefined"), ("densenet121", "exact")]
)
def test_published_networks_with_the_right_ending_are_exact(name, level):
    torch.manual_seed(0)
    network = getattr(models, name)(num_classes=3).double().eval()
    verdict = Cam().verdict(model_of(network))
    assert verdict.level == level
    if level == "exact":
        _assert_the_mean_is_the_score(network, random_images(2, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [("vgg16", {}), ("resnet50", {}), ("inception_v3", {"aux_logits": False, "init_weights": False})],
)
def test_the_mean_is_the_score_on_the_three_networks(name, settings):
    torch.manual_seed(0)
    network = getattr(models, name)(num_classes=3, **settings)
    if name == "vgg16":
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Linear(512, 3)
    _assert_the_mean_is_the_score(network.double().eval(), random_images(2, 96))


def _assert_the_mean_is_the_score(network: nn.Module, images: Tensor) -> None:
    """For average pooling, the mean of the map before resizing is the score minus the bias."""
    batch = batch_of(model_of(network), images, [2, 1])
    inputs = []
    handle = _pooling(network).register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    scores = network(images)
    handle.remove()
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    maps = torch.einsum("nk,nkhw->nhw", head.weight[[2, 1]], inputs[0])
    target_scores = scores[[0, 1], [2, 1]]
    torch.testing.assert_close(maps.mean((1, 2)) + head.bias[[2, 1]], target_scores, rtol=1e-8, atol=1e-10)
    expected = functional.interpolate(maps[:, None], images.shape[2:], mode="bilinear", align_corners=False).detach()
    actual = Cam()(batch).values
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


def _pooling(network: nn.Module) -> nn.Module:
    """The pooling module; DenseNet pools by a function, which is replaced by a module."""
    if not isinstance(network, models.DenseNet):
        return network.avgpool
    features = network.features
    pooling = nn.AdaptiveAvgPool2d(1)
    network.forward = lambda images: network.classifier(pooling(functional.relu(features(images))).flatten(1))
    return pooling


def test_gradcam_and_respond_cam_are_cam_over_the_number_of_pixels():
    """With average pooling, Grad-CAM is ReLU(CAM) / pixels. Respond-CAM is CAM / pixels and sums to score - bias."""
    network = drawn(Ending(ENDINGS["mean"]))
    batch = batch_of(model_of(network), random_images(), [2, 0, 1], layers=("features.0",))
    cam = Cam()(batch).values
    pixels = 64
    torch.testing.assert_close(GradCam()(batch).values, cam.relu() / pixels, rtol=1e-10, atol=1e-15)
    respond = RespondCam()(batch).values
    torch.testing.assert_close(respond, cam / pixels, rtol=1e-7, atol=1e-12)
    scores = batch.pick(logits(batch)) - network.head.bias[[2, 0, 1]].detach()
    torch.testing.assert_close(respond.sum((1, 2, 3)), scores, rtol=1e-7, atol=1e-12)


def test_with_max_pooling_the_gradient_is_the_weight_at_the_maximum():
    network = drawn(Ending(ENDINGS["maximum"]))
    batch = batch_of(model_of(network), random_images(), [2, 0, 1], layers=("features.0",))
    layer = gradients(batch).layers["features.0"]
    at_maximum = (layer.gradient * layer.activation).sum((1, 2, 3))
    scores = batch.pick(logits(batch)) - network.head.bias[[2, 0, 1]].detach()
    torch.testing.assert_close(at_maximum, scores, rtol=1e-10, atol=1e-12)
    weighted = torch.einsum("nk,nkhw->nhw", network.head.weight[[2, 0, 1]].detach(), layer.activation)
    torch.testing.assert_close(Cam()(batch).values[:, 0], weighted, rtol=1e-10, atol=1e-12)


def test_a_further_input_scales_the_features():
    network = drawn(Scaled())
    gain = torch.tensor([1.0, -2.0], dtype=torch.float64)
    plain, scaled = (
        Cam()(batch_of(model_of(network), random_images(2), [0, 0], inputs={"gain": value})).values
        for value in (torch.ones(2, dtype=torch.float64), gain)
    )
    torch.testing.assert_close(scaled, plain * gain[:, None, None, None], rtol=1e-12, atol=1e-14)


def test_no_backward_pass_runs_and_no_other_output_is_computed(monkeypatch):
    network = drawn(Ending(ENDINGS["dictionary"]))
    batch = batch_of(model_of(network), random_images(), [0, 1, 2])
    calls = []
    batch.view.module.get_submodule("mask").register_forward_hook(lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(torch.autograd, "grad", lambda *arguments, **settings: 1 / 0)
    Cam()(batch)
    assert calls == []


def test_a_target_outside_the_classes_is_an_error():
    with pytest.raises(ModelError, match="target 3 is outside the 3 classes"):
        explained(drawn(Ending(ENDINGS["mean"])), random_images(), [0, 3, 0])


def test_an_unknown_output_is_an_error():
    batch = batch_of(model_of(drawn(Ending(ENDINGS["mean"]))), random_images(), [0, 1, 2])
    batch.output = "mask"
    with pytest.raises(ModelError, match="has no output 'mask'; it has logits"):
        Cam()(batch)


def test_a_network_without_weights_is_noted_as_degenerate():
    network = drawn(Ending(ENDINGS["mean"]))
    network.head.weight.data[1] = 0.0
    explanation = explained(network, random_images(), [0, 1, 2])
    assert explanation.notes == {"degenerate": [0.0, 1.0, 0.0]}
