"""VGG16 for 512 pixels: its shape against torchvision's, its values against a plain one, and ImageNet's weights."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import vgg16
from torchvision.models.vgg import cfgs

from heatproof.errors import HeatproofError, ModelError
from heatproof.records import Sample
from heatproof.testing import conforms
from heatproof_vgg16_512 import vgg16_512
from heatproof_vgg16_512.vgg16_512 import VGG16At512

SMALL = {"size": 128, "width": 16}
PUBLISHED = list(cfgs["D"])
NARROW = [layer if layer == "M" else layer // 16 for layer in PUBLISHED]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give VGG16 a sixteenth of its channels, which saves the time of most tests."""
    monkeypatch.setitem(cfgs, "D", NARROW)


@pytest.fixture
def model() -> VGG16At512:
    return VGG16At512(**SMALL)


@conforms(VGG16At512(**SMALL))
def test_conformance(check):
    check()


def test_512_pixels_give_the_25088_features_of_the_dense_layers_of_imagenet(monkeypatch):
    monkeypatch.setitem(cfgs, "D", PUBLISHED)
    with torch.device("meta"):
        network = VGG16At512().architecture()
        published = vgg16()
        features = network.features(torch.empty(2, 3, 512, 512))
        logits = network(torch.empty(2, 3, 512, 512))
    assert features.shape == network.avgpool(features).shape == (2, 512, 7, 7)
    assert features[0].numel() == 25_088
    assert logits.shape == (2, 1)
    shapes = {name: value.shape for name, value in published.state_dict().items()}
    changed = {name for name, value in network.state_dict().items() if value.shape != shapes[name]}
    assert network.state_dict().keys() == shapes.keys()
    assert changed == {"classifier.6.weight", "classifier.6.bias"}


def plain(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The network by the words of the paper: stride 2 in conv1_1, no padding in conv5_1."""
    values = images
    convolution = 0
    names = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
    for layer in NARROW:
        if layer == "M":
            values = functional.max_pool2d(values, 2)
            continue
        weight, bias = (state[f"features.{names[convolution]}.{part}"] for part in ("weight", "bias"))
        stride = 2 if convolution == 0 else 1
        padding = 0 if convolution == 10 else 1
        values = functional.conv2d(values, weight, bias, stride, padding).relu()
        convolution += 1
    values = functional.adaptive_avg_pool2d(values, 7).flatten(1)
    for name in ("classifier.0", "classifier.3"):
        values = functional.linear(values, state[f"{name}.weight"], state[f"{name}.bias"]).relu()
    return functional.linear(values, state["classifier.6.weight"], state["classifier.6.bias"])


def test_the_logit_is_that_of_a_plain_implementation(model):
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state = {name: value.double() for name, value in model.network.state_dict().items()}
    with torch.no_grad():
        expected = plain(state, images)
        actual = model.in_precision("float64").forward(images)["logits"]
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)
    assert expected.abs() > 1e-8


def test_the_grade_is_the_nearest(model):
    assert [model.read(np.array([value])).decision for value in (-1.0, 1.4, 2.6, 9.0)] == [0, 1, 3, 4]


def test_the_field_of_view_fills_the_canvas():
    prepared = VGG16At512(width=16).prepare(Sample("a", np.full((3, 60, 90), 255, dtype=np.uint8)))
    assert prepared.image.shape == (3, 512, 512)
    assert np.unique(prepared.image[:, 250:260, 250:260]).tolist() == [127 / 128]


def test_imagenet_weights_in_the_cache_are_all_layers_but_the_output(hub, monkeypatch):
    """The file of this test has narrower dense layers; those of torchvision have the shapes of the network's."""
    monkeypatch.setattr(vgg16_512, "UNITS", SMALL["width"])
    drawn = VGG16At512(**SMALL).network.state_dict()
    cached = {name: value + 1 for name, value in drawn.items()}
    output = {"classifier.6.weight": torch.zeros(1000, 16), "classifier.6.bias": torch.zeros(1000)}
    torch.save({**cached, **output}, hub / "vgg16-397923af.pth")
    loaded = VGG16At512(**SMALL, weights="torchvision").network.state_dict()
    for name, value in loaded.items():
        assert torch.equal(value, drawn[name] if name in output else cached[name])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": 127}, HeatproofError, "size: should be greater than or equal to 128"),
        ({**SMALL, "weights": "torchvision"}, ModelError, "have dense layers of 4096 units, the network 16; set width"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        VGG16At512(**settings).build()


def test_dropout_of_a_half_follows_both_dense_layers(model):
    kinds = [type(layer) for layer in model.network.classifier]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert {layer.p for layer in model.network.classifier if isinstance(layer, nn.Dropout)} == {0.5}
