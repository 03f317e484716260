"""LesionNet: its packaged checkpoint on held-out synthetic eyes, its structure, and its views."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from heatproof.batch import Batch
from heatproof.digests import file_digest
from heatproof.errors import ModelError
from heatproof.passes import gradients
from heatproof.records import Sample
from heatproof_lesionnet.lesionnet import PACKAGED, LesionNet, LesionNetwork

LAYERS = tuple(f"features.{number}.convolution" for number in range(8))


@pytest.fixture(scope="module")
def model():
    return LesionNet()


def images(count=2, dtype=torch.float32, size=448):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype).clamp(-1, 1)


def test_the_packaged_checkpoint_is_small_and_holds_this_architecture():
    assert PACKAGED.stat().st_size <= 5_000_000
    state = load_file(PACKAGED)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in LesionNetwork().state_dict().items()
    }
    assert all(value.isfinite().all() for value in state.values())


def test_gives_one_finite_logit(model):
    with torch.no_grad():
        logits = model.forward(images())["logits"]
    assert logits.shape == (2, 1)
    assert logits.isfinite().all()


def test_layers_are_the_convolutions_in_order(model):
    assert model.layers() == LAYERS
    assert model.last_layer == LAYERS[-1]


@pytest.mark.slow
def test_grades_held_out_synthetic_eyes(model):
    phantom = pytest.importorskip("heatproof_phantom.phantom", reason="the phantom dataset is not installed")
    dataset = phantom.Phantom(patients=60, height=512)
    samples = [dataset.load(id) for id in dataset.ids("test")]
    images = np.stack([model.prepare(sample).image for sample in samples])
    with torch.no_grad():
        logits = model.forward(torch.from_numpy(images))["logits"]
    predicted = np.array([model.read(row.numpy()).decision for row in logits])
    truth = np.array([sample.label for sample in samples])
    assert len(truth) >= 20
    assert weighted_kappa(predicted, truth) > 0.6


def weighted_kappa(predicted, truth):
    """Quadratic weighted kappa, by its definition over the table of counts."""
    observed = sum((a - b) ** 2 for a, b in zip(predicted, truth)) / len(truth)
    chance = sum((a - b) ** 2 for a in predicted for b in truth) / len(truth) ** 2
    return 1 - observed / chance


def test_a_tiny_dark_spot_changes_the_first_map(model):
    clean = torch.zeros(1, 3, 448, 448)
    spotted = clean.clone()
    spotted[..., 200:202, 200:202] = -0.5
    first = model.network.features[0]
    with torch.no_grad():
        change = (first(spotted) - first(clean)).abs().amax(1)[0]
    assert change[200:202, 200:202].min() > 0
    assert change[:198].max() == change[204:].max() == 0


def test_the_last_map_is_averaged_then_dense(model):
    """The weights of Grad-CAM therefore are the gradient of the head divided by the number of cells."""
    batch = Batch(model, ["a", "b"], images(), [0, 0], layers=LAYERS[-1:])
    layer = gradients(batch).layers[LAYERS[-1]]
    assert layer.activation.shape == (2, 96, 28, 28)
    pooled = layer.activation.mean((2, 3)).requires_grad_()
    (expected,) = torch.autograd.grad(model.network.head(pooled).sum(), pooled)
    spread = (expected / 28**2)[:, :, None, None].expand_as(layer.gradient)
    torch.testing.assert_close(layer.gradient, spread, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("folded", "count"), [(True, 8), (False, 0)])
def test_views_agree_with_the_network_in_float64(folded, count):
    model = LesionNet()
    model.network.double()
    batch = images(1, torch.float64)
    view = model.view(batch, {}, folded)
    outputs, _ = view(batch, {})
    torch.testing.assert_close(outputs["logits"], model.forward(batch)["logits"], rtol=1e-12, atol=0)
    assert len(view.merged) == count


def test_nothing_works_in_place(model):
    assert not any(getattr(module, "inplace", False) for module in model.network.modules())


def test_the_packaged_weights_enter_the_identity(model, monkeypatch, tmp_path):
    identity = model.identity
    assert model.content() == file_digest(PACKAGED)
    monkeypatch.setattr("heatproof_lesionnet.lesionnet.PACKAGED", tmp_path / "other.safetensors")
    save_file({name: 2 * values for name, values in load_file(PACKAGED).items()}, tmp_path / "other.safetensors")
    assert LesionNet().identity != identity


def test_other_weights_replace_the_packaged_ones(model, tmp_path):
    torch.manual_seed(0)
    other = LesionNetwork()
    torch.save(other.state_dict(), tmp_path / "other.pt")
    loaded = LesionNet(weights=tmp_path / "other.pt")
    assert loaded.content() == ""
    assert loaded.identity != model.identity
    with torch.no_grad():
        torch.testing.assert_close(loaded.forward(images())["logits"], other.eval()(images()))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "own.pt")
    with pytest.raises(ModelError, match="does not fit the network"):
        LesionNet(weights=tmp_path / "own.pt").build()


def test_prepares_a_photograph_for_448_pixels(model):
    assert model.prepare(Sample("a", np.full((3, 90, 120), 100, dtype=np.uint8))).image.shape == (3, 448, 448)
