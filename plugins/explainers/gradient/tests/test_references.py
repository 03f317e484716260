"""References by channel, image and distribution against captum; where they come from, and what is refused."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import DeepLift as CaptumDeepLift
from captum.attr import DeepLiftShap
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from PIL import Image
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.testing import conforms, toys
from heatproof_gradient.deeplift import DeepLift
from heatproof_gradient.integrated_gradients import IntegratedGradients

KINDS = pytest.mark.parametrize("kind", [DeepLift, IntegratedGradients])
STEPS = 6


def batch(count: int = 3, **changes: Any) -> Batch:
    """A small network that prepares images to 8 x 8 pixels, and random images."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 2),
    )  # fmt: skip
    model = Model.of(toys.drawn(network, 0).double().eval(), ("a", "b"), Resize(size=8, mean=(0.5,) * 3))
    images = torch.randn(count, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ids = [f"id-{index}" for index in range(count)]
    return Batch(model, ids, images, [index % 2 for index in range(count)], **changes)


def explained(kind: Any, baseline: Any, images: Batch, **settings: Any) -> Any:
    if kind is IntegratedGradients:
        settings["steps"] = STEPS
    return kind(baseline=baseline, **settings)(images)


def captums(kind: Any, images: Batch, reference: Tensor) -> Tensor:
    """The maps of captum with a reference (1 or n, c, h, w)."""
    reference = reference.expand_as(images.images).contiguous()
    arguments = (images.images.clone().requires_grad_(), reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind is DeepLift:
            return CaptumDeepLift(images.model.network).attribute(*arguments, target=images.targets).detach()
        method = CaptumIntegratedGradients(images.model.network)
        return method.attribute(*arguments, target=images.targets, n_steps=STEPS, method="riemann_middle").detach()


def write(path: Path, seed: int, size: int = 16) -> Tensor:
    """Write a random PNG; returns it as ``batch``'s model prepares it, (1, 3, 8, 8)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    cells = pixels.reshape(8, size // 8, 8, size // 8, 3).mean((1, 3)).transpose(2, 0, 1)
    return torch.from_numpy(cells / 255 - 0.5)[None]


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-7) -> None:
    """Captum's points on a path, and files, are in float32."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@conforms(DeepLift(baseline=(0.1, -0.2, 0.3)), DeepLift(baseline="uniform", draws=1))
def test_conformance(check):
    check()


@conforms(
    IntegratedGradients(baseline="mean", steps=3),
    expected={"values sum to the score where complete": "few steps across the kinks of a piecewise linear network"},
)
def test_conformance_of_coarse_paths(check):
    check()


@KINDS
def test_captum_agrees_on_a_constant_per_channel(kind):
    images = batch()
    values = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert_close(explained(kind, [0.5, -1.0, 0.2], images).values, captums(kind, images, values))


@KINDS
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_captum_agrees_on_the_mean_of_each_channel(kind, rows):
    images = batch(rows=rows)
    expected = captums(kind, images, images.images.mean((2, 3), keepdim=True))
    assert_close(explained(kind, "mean", images).values, expected)


@KINDS
def test_captum_agrees_on_an_image_file(kind, tmp_path):
    """The file is prepared as every image of the model."""
    images = batch()
    reference = write(tmp_path / "reference.png", 0)
    explanation = explained(kind, tmp_path / "reference.png", images)
    assert_close(explanation.values, captums(kind, images, reference), 1e-6)
    if kind is DeepLift:
        assert explanation.notes["completeness_gap"] == pytest.approx([0] * 3, abs=1e-10)


@KINDS
@pytest.mark.parametrize("rows", [1, 5])
def test_captum_agrees_on_a_folder_of_references(kind, rows, tmp_path):
    """The map is the mean over all of them; that of DeepLIFT is captum's DeepLiftShap."""
    images = batch(rows=rows)
    references = torch.cat([write(tmp_path / f"{index}.png", index) for index in range(3)])
    explanation = explained(kind, tmp_path, images)
    expected = torch.stack([captums(kind, images, reference[None]) for reference in references]).mean(0)
    assert_close(explanation.values, expected, 1e-6)
    if kind is DeepLift:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shap = DeepLiftShap(images.model.network).attribute(images.images, references, target=images.targets)
        assert_close(explanation.values, shap, 1e-6)
    network = images.model.network
    gain = network(images.images) - network(references).mean(0)
    gap = explanation.values.flatten(1).sum(1) - gain.detach().gather(1, images.targets[:, None])[:, 0]
    assert explanation.notes["completeness_gap"] == pytest.approx(gap.tolist(), abs=1e-6)


@KINDS
def test_captum_agrees_on_the_mean_image_of_a_folder(kind, tmp_path):
    images = batch()
    references = torch.cat([write(tmp_path / f"{index}.png", index) for index in range(3)])
    actual = explained(kind, tmp_path, images, several="image").values
    assert_close(actual, captums(kind, images, references.mean(0, keepdim=True)), 1e-6)


@KINDS
def test_random_references_lie_within_the_range_of_each_channel_and_average(kind):
    images = batch()
    low, high = images.images.amin((2, 3), keepdim=True), images.images.amax((2, 3), keepdim=True)
    shares = [torch.stack([images.uniform(3 * draw + channel) for channel in range(3)], 1) for draw in range(2)]
    expected = [captums(kind, images, low + (high - low) * share) for share in shares]
    assert_close(explained(kind, "uniform", images, draws=2).values, torch.stack(expected).mean(0))
    assert kind(baseline="uniform").cost(images.model, (8, 8))[1] == 10 * kind().cost(images.model, (8, 8))[1]


def test_the_cost_and_the_passes_count_every_reference(tmp_path):
    for index in range(3):
        write(tmp_path / f"{index}.png", index)
    explainer = IntegratedGradients(baseline=tmp_path, steps=STEPS)
    assert explainer.cost(batch().model, (8, 8)) == (3 * (STEPS + 1) + 1, 3 * STEPS)
    assert explainer(batch()).notes["passes"] == [3 * STEPS] * 3
    assert DeepLift(baseline=tmp_path).cost(batch().model, (8, 8)) == (6, 3)


@KINDS
def test_the_identity_follows_the_files(kind, tmp_path):
    write(tmp_path / "a.png", 0)
    identities = [kind(baseline=tmp_path).identity, kind(baseline=tmp_path / "a.png").identity]
    write(tmp_path / "a.png", 1)
    identities += [kind(baseline=tmp_path).identity, kind(baseline=tmp_path / "a.png").identity]
    assert len(set(identities)) == 4


@KINDS
def test_references_that_do_not_fit_are_refused(kind, tmp_path):
    with pytest.raises(ModelError, match="baseline has 2 values, one per channel; the images have 3 channels"):
        kind(baseline=[0.0, 1.0])(batch())
    with pytest.raises(DataError, match="has no image for a reference"):
        kind(baseline=tmp_path)(batch())
    with pytest.raises(HeatproofError, match=r"missing is no file or folder .* a baseline is a number"):
        kind(baseline=tmp_path / "missing")
    write(tmp_path / "a.png", 0)
    grey = Image.fromarray(np.zeros((16, 16), dtype=np.uint8))
    grey.save(tmp_path / "grey.png")
    model = Model.of(batch().model.network, ("a", "b"), Resize(size=8))
    with pytest.raises(ModelError, match=r"grey.png is \(1, 8, 8\) as .* prepares it, the images are \(3, 8, 8\)"):
        kind(baseline=tmp_path / "grey.png")(Batch(model, ["a"], batch().images[:1], [0]))


@KINDS
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 3}, "draws has no effect unless baseline is uniform"),
        ({"several": "image"}, "several: image needs the path of a folder"),
        ({"baseline": float("nan")}, "baseline"),
        ({"baseline": []}, "baseline"),
    ],
)
def test_settings_without_effect_are_refused(kind, settings, message):
    with pytest.raises(HeatproofError, match=message):
        kind(**settings)
