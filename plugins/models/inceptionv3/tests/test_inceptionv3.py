"""InceptionV3: structure against torchvision's network, and weights from a cache."""

import pytest
import torch
from torch import nn
from torchvision.models import inception_v3

from heatproof.errors import ModelError
from heatproof.network.modules import BATCH_NORMS
from heatproof.testing import conforms
from heatproof_inceptionv3.inceptionv3 import InceptionV3

CACHED = "inception_v3_google-0cc3c7bd.pth"
BRANCHES = {"branch1x1": 320, "branch3x3_2a": 384, "branch3x3dbl_3b": 384, "branch_pool": 192}


@pytest.fixture(scope="module")
def model():
    return InceptionV3()


def images(size, count=1, dtype=torch.float32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.slow
@conforms(InceptionV3(size=80))
def test_conformance(check):
    check()


@pytest.mark.slow
def test_the_last_maps_have_12_cells_a_side_at_448(model):
    layers = [f"Mixed_7c.{branch}.conv" for branch in BRANCHES]
    with torch.no_grad():
        outputs, activations = model.view(images(448), {})(images(448), {}, layers)
    assert outputs["logits"].shape == (1, 1)
    assert [activations[layer].shape for layer in layers] == [(1, width, 12, 12) for width in BRANCHES.values()]


@pytest.mark.slow
def test_94_convolutions_each_with_its_norm_and_a_relu_that_was_a_function(model):
    assert len(model.layers()) == 94
    assert model.last_layer == "Mixed_7c"
    assert model.outline.activations == (nn.ReLU,) * (94 + 2)
    assert not any(isinstance(module, nn.ReLU) for module in model.network.Mixed_7c.modules())
    view = model.view(images(80), {})
    assert len(view.merged) == 94
    assert not [module for module in view.module.modules() if isinstance(module, BATCH_NORMS)]


@pytest.mark.slow
def test_views_agree_with_the_network_in_float64():
    model = InceptionV3(size=80)
    model.network.double()
    batch = images(80, dtype=torch.float64)
    expected = model.forward(batch)["logits"].detach()
    for folded in (True, False):
        with torch.no_grad():
            outputs, _ = model.view(batch, {}, folded)(batch, {})
        torch.testing.assert_close(outputs["logits"], expected, rtol=1e-12, atol=0)


def test_pooling_is_a_module_throughout(model):
    graph = model.view(images(80), {}, folded=False).module.graph
    functions = {node.target.__name__ for node in graph.nodes if node.op == "call_function"}
    assert functions == {"flatten"}


def test_backbone_and_head_are_the_published_ones(model):
    published = inception_v3(weights=None, aux_logits=False, init_weights=False)
    published.fc = nn.Sequential(
        *(nn.Linear(2048, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 1),
    )
    published.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model.forward(images(96))["logits"], published.eval()(images(96)))


def test_the_seed_alone_decides_random_weights():
    first, again, other = (InceptionV3(seed=seed).network.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["Conv2d_1a_3x3.conv.weight"], other["Conv2d_1a_3x3.conv.weight"])
    assert not torch.equal(first["fc.6.weight"], other["fc.6.weight"])


def test_imagenet_weights_without_network_say_what_to_do(hub):
    with pytest.raises(ModelError, match="no route to host") as caught:
        InceptionV3(weights="torchvision").build()
    assert f"save it as {hub / CACHED}" in str(caught.value)


@pytest.mark.slow
def test_imagenet_weights_in_the_cache_are_the_backbone(hub):
    cached = inception_v3(weights=None, init_weights=False).state_dict()
    torch.save(cached, hub / CACHED)
    head = {name: value for name, value in InceptionV3().network.state_dict().items() if name.startswith("fc.")}
    expected = cached | head
    for name, value in InceptionV3(weights="torchvision").network.state_dict().items():
        assert torch.equal(value, expected[name])
