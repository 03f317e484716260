"""ResNet50: structure against torchvision's network, grades against the closed form, and weights of all sources."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from heatproof.errors import HeatproofError, ModelError
from heatproof.records import Sample
from heatproof.testing import conforms
from heatproof_resnet50.resnet50 import ResNet50

CACHED = "resnet50-11ad3fa6.pth"


class Intruder:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.fixture(scope="module")
def model():
    return ResNet50()


@conforms(ResNet50(width=0.125, size=64))
def test_conformance_of_a_narrow_network(check):
    check()


def images(size, dtype=torch.float32):
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.slow
def test_last_map_has_14_cells_a_side_at_448(model):
    view = model.view(images(448), {})
    with torch.no_grad():
        outputs, activations = view(images(448), {}, ["layer4.2.conv3"])
    assert outputs["logits"].shape == (1, 1)
    assert torch.isfinite(outputs["logits"]).all()
    assert activations["layer4.2.conv3"].shape == (1, 2048, 14, 14)


def test_the_last_layer_is_the_sum_that_is_pooled(model):
    assert model.last_layer == "layer4"
    assert len(model.layers()) == 53


def test_every_activation_has_a_module_of_its_own(model):
    graph = model.view(images(64), {}, folded=False).module
    modules = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    activations = [name for name in modules if isinstance(graph.get_submodule(name), nn.ReLU)]
    assert len(activations) == len(set(activations)) == 49 + 2
    assert not any(graph.get_submodule(name).inplace for name in activations)


def test_all_53_batch_norms_are_folded(model):
    folded = model.view(images(64), {})
    assert len(folded.merged) == 53
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.module.modules())


@pytest.mark.slow
def test_views_agree_with_the_network_in_float64():
    model = ResNet50(size=64)
    model.network.double()
    batch = images(64, torch.float64)
    expected = model.forward(batch)["logits"]
    for folded in (True, False):
        outputs, _ = model.view(batch, {}, folded)(batch, {})
        torch.testing.assert_close(outputs["logits"], expected, rtol=1e-12, atol=0)


def test_backbone_and_head_are_the_published_ones(model):
    published = resnet50(weights=None)
    published.fc = nn.Sequential(
        *(nn.Linear(2048, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 1),
    )
    published.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model.forward(images(96))["logits"], published.eval()(images(96)))
    assert [module.p for module in model.network.fc if isinstance(module, nn.Dropout)] == [0.5, 0.5]


def test_a_narrow_network_has_the_gain_of_he_for_the_channels_that_are_there():
    narrow = ResNet50(width=0.125, size=64)
    assert narrow.last_layer == "layer4"
    weight = narrow.network.layer3[0].conv2.weight
    assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.05)


def test_weights_of_torchvision_fit_the_full_width_only():
    with pytest.raises(HeatproofError, match=r"weights of torchvision fit width: 1 only, not 0.5"):
        ResNet50(weights="torchvision", width=0.5)


@pytest.mark.parametrize("logit", [-9.0, -2.0, -1.94, -1.0, -0.5, 0.0, 0.51, 1.0, 1.95, 2.0, 9.0])
def test_grade_is_the_rounded_sigmoid(model, logit):
    prediction = model.read(np.array([logit]))
    position = 1 / (1 + math.exp(-logit))
    assert prediction.probabilities == pytest.approx([position], abs=1e-15)
    assert prediction.decision == min(max(math.floor(4 * position + 0.5), 0), 4)
    assert prediction.classes[prediction.decision] in model.classes


def test_prepares_a_photograph_for_448_pixels(model):
    photograph = np.full((3, 90, 120), 100, dtype=np.uint8)
    assert model.prepare(Sample("a", photograph)).image.shape == (3, 448, 448)


def test_the_seed_alone_decides_random_weights():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = ResNet50(seed=3).network.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = ResNet50(seed=3).network.state_dict()
    other = ResNet50(seed=4).network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc.6.weight"], other["fc.6.weight"])
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.slow
def test_a_checkpoint_is_loaded_whole_and_counts_by_content(tmp_path):
    other = ResNet50(seed=9).network.state_dict()
    torch.save(other, tmp_path / "a.pt")
    model = ResNet50(weights=tmp_path / "a.pt")
    assert all(torch.equal(value, other[name]) for name, value in model.network.state_dict().items())
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    assert model.identity == ResNet50(weights=tmp_path / "b.pt").identity != ResNet50().identity


def test_weights_in_a_config_are_found_beside_it(tmp_path):
    model = ResNet50.create({"weights": "torchvision"}, {"base": tmp_path}, "heatproof-resnet50/resnet50")
    assert model.params.weights == "torchvision"
    model = ResNet50.create({"weights": "own.pt"}, {"base": tmp_path}, "heatproof-resnet50/resnet50")
    assert model.params.weights == tmp_path / "own.pt"


def test_unknown_params_are_refused():
    with pytest.raises(HeatproofError, match="seed"):
        ResNet50(seed=-1)


def test_imagenet_weights_without_network_say_what_to_do(hub):
    with pytest.raises(ModelError, match="no route to host") as caught:
        ResNet50(weights="torchvision").build()
    assert f"save it as {hub / CACHED}" in str(caught.value)
    assert "set weights to the path of a checkpoint" in str(caught.value)


def test_imagenet_weights_in_the_cache_are_the_backbone(hub):
    cached = resnet50(weights=None).state_dict()
    torch.save(cached, hub / CACHED)
    head = {name: value for name, value in ResNet50().network.state_dict().items() if name.startswith("fc.")}
    expected = cached | head
    for name, value in ResNet50(weights="torchvision").network.state_dict().items():
        assert torch.equal(value, expected[name])


def test_a_cached_file_of_another_network_is_named(hub):
    torch.save(nn.Linear(2, 2).state_dict(), hub / CACHED)
    with pytest.raises(ModelError, match=r"ImageNet weights cannot be loaded \(Error\(s\) in loading.*save it as"):
        ResNet50(weights="torchvision").build()


def test_code_in_a_cached_file_is_never_executed(hub):
    torch.save({"conv1.weight": Intruder(hub / "touched")}, hub / CACHED)
    with pytest.raises(ModelError, match="cannot be loaded"):
        ResNet50(weights="torchvision").build()
    assert not (hub / "touched").exists()
