"""FF-VGG19: fused features against plain ones, the path of each tap, and settings."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from heatproof.errors import HeatproofError
from heatproof.testing import conforms
from heatproof_ff_vgg19.ff_vgg19 import FFVGG19
from heatproof_ff_vgg19.network import FusedVGG19

CLASSES = ("normal", "nodule", "other")
PUBLISHED = list(cfgs["E"])
NARROW = [layer if layer == "M" else layer // 16 for layer in PUBLISHED]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give VGG19 a sixteenth of its channels, which saves the time of most tests."""
    monkeypatch.setitem(cfgs, "E", NARROW)


def model(**settings) -> FFVGG19:
    return FFVGG19(**({"classes": CLASSES, "size": 32} | settings))


def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@conforms(model())
def test_conformance(check):
    check()


@pytest.mark.parametrize(("pooling", "length"), [("average", 1408), ("flatten", 727_552)])
def test_the_length_of_the_fused_features(pooling, length, monkeypatch):
    monkeypatch.setitem(cfgs, "E", PUBLISHED)
    settings = FFVGG19(classes=CLASSES, pooling=pooling).params
    with torch.device("meta"):
        network = FusedVGG19(3, settings.taps, settings.pooling, settings.size)
        pixels = torch.empty(2, 3, 224, 224)
        assert network.fused(pixels).shape == (2, length)
        assert network(pixels).shape == (2, 3)


def plain(network: nn.Module, pixels: Tensor, taps: tuple[int, ...]) -> Tensor:
    """torchvision's convolutions with the same weights; each tap normalised and averaged, and the dense layers."""
    with torch.device("meta"):
        features = make_layers(cfgs["E"])[: len(network.features)]
    features.load_state_dict(network.features.state_dict(), assign=True)
    values = pixels
    pooled = []
    for layer in features:
        values = layer(values)
        if isinstance(layer, nn.MaxPool2d):
            pooled.append(values)
    columns = []
    for block in taps:
        norm = network.taps[str(block)].norm
        scaled = (pooled[block - 1].mean((2, 3)) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        columns.append(scaled * norm.weight + norm.bias)
    return network.classifier(torch.cat(columns, 1))


@pytest.mark.parametrize("taps", [(2, 3, 4, 5), (5,)], ids=str)
@torch.no_grad()
def test_the_logits_are_those_of_a_plain_implementation(taps):
    """With the last tap alone and a norm without effect it is VGG19 with global average pooling."""
    network = model(taps=taps).in_precision("float64").network
    generator = torch.Generator().manual_seed(2)
    for tap in network.taps.values():
        tap.norm.running_var.fill_(1 - tap.norm.eps)
        if len(taps) > 1:
            for values in (tap.norm.running_mean, tap.norm.weight, tap.norm.bias):
                values.copy_(torch.randn(values.shape, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(network(images()), plain(network, images(), taps), rtol=1e-10, atol=1e-12)


def test_zero_weights_of_a_tap_remove_the_path_of_its_block_and_no_other():
    network = model().in_precision("float64").network
    without = model(taps=(2, 4, 5)).in_precision("float64").network
    left = torch.ones(1408 // 16, dtype=torch.bool)
    left[8 : 8 + 16] = False
    with torch.no_grad():
        network.classifier[0].weight[:, ~left] = 0
        state = network.state_dict()
        others = {name: value for name, value in state.items() if not name.startswith("taps.3.")}
        without.load_state_dict(others | {"classifier.0.weight": state["classifier.0.weight"][:, left]})
    gradients = []
    for candidate in (network, without):
        pixels = images().requires_grad_()
        gradients.append(torch.autograd.grad(candidate(pixels)[:, 1].sum(), pixels)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=0)
    norms = {block: tap.norm.weight for block, tap in network.taps.items()}
    passed = zip(norms, torch.autograd.grad(network(images())[:, 1].sum(), list(norms.values())))
    assert {block for block, gradient in passed if not gradient.any()} == {"3"}


def test_the_last_layer_is_the_last_convolution_of_the_deepest_tap():
    assert model().last_layer == "features.34"
    assert model(taps=(1, 2)).last_layer == "features.7"
    assert len(model(taps=(1, 2)).layers()) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taps": (3, 2)}, r"taps: should be different blocks in ascending order.*\(seen: \(3, 2\)\)"),
        ({"taps": (2, 2)}, "taps: should be different blocks in ascending order"),
        ({"taps": (6,)}, "less than or equal to 5"),
        ({"taps": ()}, "taps"),
        ({"classes": ("a", "a")}, "names 'a' twice"),
        ({"classes": ("a",)}, "classes"),
        ({"size": 31}, "greater than or equal to 32"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(HeatproofError, match=message):
        model(**settings)


def test_a_checkpoint_is_loaded_and_the_seed_decides_the_rest(tmp_path):
    trained = model(taps=(1,), seed=3).network.state_dict()
    torch.save(trained, tmp_path / "a.pt")
    loaded = model(taps=(1,), weights=tmp_path / "a.pt").network.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in trained.items())
    again, other = (model(taps=(1,), seed=seed).network.features[0].weight for seed in (3, 4))
    assert torch.equal(loaded["features.0.weight"], again)
    assert not torch.equal(again, other)
