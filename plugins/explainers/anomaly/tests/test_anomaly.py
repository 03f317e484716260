"""Anomaly maps by hand, and perturbation by reconstructions against a plain implementation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_anomaly.anomaly import Anomaly
from heatproof_anomaly.vae_perturbation import VaePerturbation


class Fading(nn.Module):
    """Reconstructs an image as a share of itself plus a grey; the network has no fixed number of axes."""

    def __init__(self, share: float, grey: float):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))
        self.grey = nn.Parameter(torch.tensor(grey))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        reconstruction = images * self.share + self.grey
        return {"logits": (images - reconstruction).abs().flatten(1).mean(1, True), "reconstruction": reconstruction}


class Faded(toys.Toy):
    """A toy that reconstructs the image."""

    classes = ("normal", "anomalous")
    head = "sigmoid"
    outputs = ("logits", "reconstruction")
    capabilities = frozenset({"gradients", "reconstruction"})
    share = 0.5
    grey = 0.25

    def build(self) -> nn.Module:
        return Fading(self.share, self.grey)


class Identical(Faded):
    """A toy that reconstructs every image perfectly."""

    share = 1.0
    grey = 0.0


class Background(Faded):
    """A toy that has seen nothing but the dark background of the toys' images."""

    share = 0.0
    grey = 0.14


class Small(Faded):
    """A toy for images of another size."""

    size = 8


class Otherwise(Background):
    """A toy with another preparation."""

    preparation = Resize(size=toys.GRID)


class UntrainedParams(toys.ToyParams):
    weights: str | None = None


class Untrained(toys.Toy[UntrainedParams]):
    """A toy that says by its settings whether it was trained."""

    capabilities = frozenset({"gradients", "reconstruction"})

    def build(self) -> nn.Module:
        return Fading(0.5, 0.25)


class Cropping(Faded):
    """A toy whose reconstruction lacks a border."""

    class Cropped(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"logits": images.mean((1, 2, 3))[:, None], "reconstruction": images[..., 1:-1, 1:-1]}

    def build(self) -> nn.Module:
        return self.Cropped()


def batch_of(model: Model, count: int = 3, **settings: Any) -> Batch:
    images = torch.stack([torch.from_numpy(sample.image) for sample in toys.Regions().samples(count)]).double()
    return Batch(model, list("abcd")[:count], images, [index % 2 for index in range(count)], **settings)


@conforms(Anomaly(), model=Faded())
def test_conformance_of_the_anomaly_map(check):
    check()


@conforms(VaePerturbation(vae=Background(), patch=8, stride=8))
def test_conformance_of_perturbation(check):
    check()


@pytest.mark.parametrize("error", ["absolute", "squared"])
def test_a_perfect_reconstruction_has_no_anomaly(error):
    explanation = Anomaly(error=error)(batch_of(in_float64(Identical())))
    assert not explanation.values.any()


def test_the_map_is_the_mean_error_of_the_channels_from_the_pass_of_the_logits(passed):
    batch = batch_of(in_float64(Faded()), rows=2)
    counts = passed(batch)
    scores = logits(batch)
    absolute = Anomaly()(batch)
    squared = Anomaly(error="squared")(batch)
    assert counts == {"forward": 2}
    differences = batch.images * 0.5 - 0.25
    torch.testing.assert_close(absolute.values, differences.abs().mean(1, keepdim=True))
    torch.testing.assert_close(squared.values, differences.square().mean(1, keepdim=True))
    torch.testing.assert_close(absolute.values.mean((1, 2, 3)), scores[:, 0])
    torch.testing.assert_close(absolute.kept["reconstruction"], batch.images * 0.5 + 0.25)


@pytest.mark.parametrize("model", [toys.Residual(), toys.Piecewise()])
def test_perturbation_by_a_plain_implementation(model):
    """Every patch is replaced in a copy, scored by the network itself, and its fall added where it lies."""
    batch = batch_of(in_float64(model), rows=4)
    explanation = VaePerturbation(vae=Faded(), patch=6, stride=4)(batch)
    heat = torch.zeros(3, 16, 16).double()
    covered = torch.zeros(16, 16)
    with torch.no_grad():
        reconstruction = batch.images * 0.5 + 0.25
        clean = batch.model.network(batch.images).gather(1, batch.targets[:, None])[:, 0]
        for top in range(0, 13, 4):
            for left in range(0, 13, 4):
                inside = (..., slice(top, top + 6), slice(left, left + 6))
                images = batch.images.clone()
                images[inside] = reconstruction[inside]
                fall = clean - batch.model.network(images).gather(1, batch.targets[:, None])[:, 0]
                heat[inside] += fall[:, None, None]
                covered[inside] += 1
    torch.testing.assert_close(explanation.values[:, 0], heat / covered, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(explanation.kept["reconstruction"], reconstruction)
    errors = (batch.images - reconstruction).abs().mean((1, 2, 3)).tolist()
    assert explanation.notes["reconstruction_error"] == pytest.approx(errors)


def test_a_perfect_reconstruction_changes_no_score():
    explanation = VaePerturbation(vae=Identical(), patch=8, stride=8)(batch_of(in_float64(toys.Residual())))
    assert explanation.notes["degenerate"] == [1.0, 1.0, 1.0]
    assert not explanation.values.any()


@pytest.mark.parametrize(
    ("vae", "level", "reason"),
    [
        (Background(), "exact", ""),
        (Otherwise(), "approximate", "Otherwise prepares images otherwise than Residual"),
        (Untrained(), "approximate", "all weights of Untrained are random, so it knows no images"),
        (Untrained(weights="trained.pt"), "exact", ""),
        (Small(), "undefined", "Small takes images of size 8, Residual of 16"),
        (toys.Piecewise(), "undefined", "Piecewise gives no reconstruction"),
    ],
)
def test_the_verdict_depends_on_what_the_autoencoder_knows(vae, level, reason):
    explainer = VaePerturbation(vae=vae)
    for precision in ("float32", "float64"):
        verdict = explainer.verdict(toys.Residual().in_precision(precision))
        assert verdict.level == level
        assert reason in verdict.reason


def test_reconstructions_that_are_no_images_of_the_same_shape_are_refused():
    message = r"Cropping reconstructs images of shape \(3, 3, 16, 16\) as \(3, 3, 14, 14\); allowed: the same shape"
    with pytest.raises(ModelError, match=message):
        Anomaly()(batch_of(Cropping()))
    with pytest.raises(ModelError, match=message):
        VaePerturbation(vae=Cropping(), patch=8, stride=8)(batch_of(in_float64(toys.Residual())))


def test_images_that_the_autoencoder_does_not_take_are_refused():
    model = toys.Residual()
    model.__dict__["capabilities"] = frozenset({"reconstruction"})
    one_channel = Batch(in_float64(Identical()), ["a"], torch.rand(1, 1, 16, 16).double(), [0])
    with pytest.raises(ModelError, match=r"Residual does not take images of 1 × 16 × 16 values \(.*channels"):
        VaePerturbation(vae=model, patch=8, stride=8)(one_channel)
