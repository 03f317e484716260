"""VGG16: structure against torchvision's network, and weights from a cache."""

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

from heatproof.errors import ModelError
from heatproof.testing import conforms
from heatproof_vgg16.vgg16 import VGG16

CACHED = "vgg16-397923af.pth"


@pytest.fixture(scope="module")
def model():
    return VGG16()


def images(size, count=1, dtype=torch.float32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.slow
@conforms(VGG16(size=64))
def test_conformance(check):
    check()


@pytest.mark.slow
def test_two_photographs_get_a_grade_each_from_a_last_map_of_28_cells(model):
    with torch.no_grad():
        outputs, activations = model.view(images(448), {})(images(448, 2), {}, ["features.28"])
    assert outputs["logits"].shape == (2, 1)
    assert all(0 <= model.read(logits.numpy()).probabilities[0] <= 1 for logits in outputs["logits"])
    assert activations["features.28"].shape == (2, 512, 28, 28)


def test_a_layer_is_its_convolution_with_relu_before_the_pooling(model):
    batch = images(64)
    with torch.no_grad():
        _, activations = model.view(batch, {})(batch, {}, ["features.24", "features.28"])
        expected = {
            "features.24": model.network.features[:26](batch),
            "features.28": model.network.features[:30](batch),
        }
    for name, value in expected.items():
        torch.testing.assert_close(activations[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_13_convolutions_and_15_activations(model):
    assert len(model.layers()) == 13
    assert model.last_layer == "features.28"
    assert model.outline.activations == (nn.ReLU,) * (13 + 2)


def test_backbone_and_head_are_the_published_ones(model):
    published = vgg16(weights=None, init_weights=False)
    published.avgpool = nn.AdaptiveAvgPool2d(1)
    published.classifier = nn.Sequential(
        *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 1),
    )
    published.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model.forward(images(96))["logits"], published.eval()(images(96)))
    assert [module.p for module in model.network.classifier if isinstance(module, nn.Dropout)] == [0.5, 0.5]


def test_the_seed_alone_decides_random_weights():
    first, again, other = (VGG16(seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
    assert not torch.equal(first["classifier.6.weight"], other["classifier.6.weight"])


def test_imagenet_weights_without_network_say_what_to_do(hub):
    with pytest.raises(ModelError, match="no route to host") as caught:
        VGG16(weights="torchvision").build()
    assert f"save it as {hub / CACHED}" in str(caught.value)


def test_imagenet_weights_in_the_cache_are_the_backbone(hub):
    """The dense layers of the cached file, of another size in this test, are not used."""
    state = VGG16(seed=5).network.state_dict()
    backbone = {name: value for name, value in state.items() if name.startswith("features.")}
    torch.save(backbone | {"classifier.0.weight": torch.zeros(2, 2)}, hub / CACHED)
    expected = VGG16().network.state_dict() | backbone
    for name, value in VGG16(weights="torchvision").network.state_dict().items():
        assert torch.equal(value, expected[name])
