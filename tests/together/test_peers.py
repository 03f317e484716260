"""Mistakes of other libraries: each test computes the right and the wrong value, and heatproof must give the right one.

The formulas are written here from the libraries' behaviour, no code is copied. Further mistakes have their tests in
plugins: captum's guided backpropagation on torchvision's InceptionV3 in ``heatproof-backprop``, captum's DeepLIFT in
``heatproof-gradient``, and Zennit's canonizers in ``heatproof-lrp``.
"""

import json
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.errors import HeatproofError, ModelError
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.run.runner import run
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual, drawn
from heatproof_cam.gradcam import GradCam
from heatproof_cam.gradcam_plus_plus import GradCamPlusPlus
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_perturbation.occlusion import Occlusion
from heatproof_smoothgrad.smoothgrad import SmoothGrad
from heatproof_smoothgrad.smoothgrad_squared import SmoothGradSquared
from heatproof_smoothgrad.vargrad import VarGrad

COPIES = 5
"""Noisy copies of each image."""
SIGMA = 0.15
"""Standard deviation of the noise, as a share of the range of an image."""
LAYER = "last"
SIDE = 8
"""The side of the activations of ``LAYER``, the last layer of the residual toy."""


def batch(count: int = 4, **changes: Any) -> Batch:
    """A batch of images of the residual toy in float64, with its three classes as targets in turn."""
    model = in_float64(Residual())
    samples = model.samples(count)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    ids = [sample.id for sample in samples]
    targets = [index % 3 for index in range(count)]
    return Batch(model, ids, images, targets, **{"layers": [LAYER], **changes})


def activations(images: Batch) -> tuple[Tensor, Tensor]:
    """The activations (n, channel, height, width) of the last layer and the logits computed from them."""
    network: Any = images.model.network
    stem = network.relu(network.stem_norm(network.stem(images.images)))
    block = network.relu(network.block_norm(network.block(stem)) + stem)
    last = network.relu(network.last_norm(network.last(block)))
    return last, network.head(network.mean(last).flatten(1))


def noisy_gradients(images: Batch, scale: Tensor | float) -> Tensor:
    """The gradients (copy, n, c, height, width) at the noisy copies of each image, computed image by image."""
    gradients = []
    for copy in range(COPIES):
        noisy = (images.images + scale * images.noise(copy)).requires_grad_()
        logits = [images.model.network(image[None])[0] for image in noisy]
        scores = [values[target] for values, target in zip(logits, images.targets)]
        gradients.append(torch.autograd.grad(torch.stack(scores).sum(), noisy)[0])
    return torch.stack(gradients)


def noise_scale(images: Batch) -> Tensor:
    """The standard deviation (n, 1, 1, 1) of the noise of each image, from the range of that image."""
    flat = images.images.flatten(1)
    return SIGMA * (flat.amax(1) - flat.amin(1))[:, None, None, None]


def cam(weights: Tensor, values: Tensor, size: int = 16) -> Tensor:
    """ReLU of the weighted channels, at the size of the image."""
    heat = (weights * values).sum(1, keepdim=True).relu()
    return functional.interpolate(heat, (size, size), mode="bilinear", align_corners=False)


def gap(first: Tensor, second: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float(((first - second).abs().max() / second.abs().max()).detach())


def assert_right(actual: Tensor, right: Tensor, wrong: Tensor) -> None:
    """Assert that a value is the right one, and that the test can tell the wrong one from it."""
    assert gap(actual, right) <= 1e-10
    assert gap(actual, wrong) > 1e-2


# targets of a batch


def test_grad_cam_explains_each_images_own_class():
    """MONAI indexes the logits by all classes of a batch: each image explains the sum of all of them."""
    images = batch()
    values, logits = activations(images)
    scores = logits.gather(1, images.targets[:, None]).sum()
    summed = logits[:, images.targets].sum()
    maps = []
    for score in (scores, summed):
        (slopes,) = torch.autograd.grad(score, values, retain_graph=True)
        maps.append(cam(slopes.mean((2, 3), keepdim=True), values))
    right, wrong = maps
    assert_right(GradCam(layer=LAYER)(images).values, right, wrong)
    one_by_one = torch.cat([GradCam(layer=LAYER)(single).values for single in images.singles()])
    assert gap(one_by_one, right) <= 1e-10


def test_grad_cam_plus_plus_weighs_samples_not_columns():
    """MONAI multiplies exp(score), one number per image, with a tensor whose last axis is the width.

    With as many images as columns, this weighs the columns instead of the images. For the map of one image exp(score)
    is a positive factor, which heatproof leaves out.
    """
    images = batch(count=SIDE)
    values, logits = activations(images)
    scores = logits.gather(1, images.targets[:, None])[:, 0]
    (slopes,) = torch.autograd.grad(scores.sum(), values)
    alpha = slopes**2 / (2 * slopes**2 + values.sum((2, 3), keepdim=True) * slopes**3)
    alpha = torch.where(slopes == 0, 0.0, alpha)
    by_image = scores.exp()[:, None, None, None]
    by_column = scores.exp()
    right, wrong = (
        cam((alpha * (factor * slopes).relu()).sum((2, 3), keepdim=True), values) / by_image
        for factor in (by_image, by_column)
    )
    heatmaps = GradCamPlusPlus(layer=LAYER)(images).values
    assert_right(heatmaps, right, wrong)
    assert (heatmaps.flatten(1).amax(1) > 0).any()


def test_fewer_targets_than_images_are_an_error():
    """pytorch-grad-cam zips targets with outputs: images after the last target get maps of zeros."""
    images = batch()
    values, logits = activations(images)
    zipped = sum(output[target] for target, output in zip([0, 1], logits))
    (slopes,) = torch.autograd.grad(zipped, values)
    wrong = cam(slopes.mean((2, 3), keepdim=True), values)
    assert not wrong[2:].any()
    for targets in ([0, 1], [0, 1, 2, 0, 1]):
        with pytest.raises(ModelError, match=f"4 ids, 4 images and {len(targets)} targets"):
            images.at(targets=targets)
        with pytest.raises(ModelError, match="one target per id"):
            Batch(images.model, images.ids, images.images, targets)


# moments under noise


def test_smoothgrad_is_a_mean_and_smoothgrad_squared_a_mean_of_squares():
    """MONAI's ``magnitude`` is neither: the root of the sum of squares, divided by their number."""
    images = batch()
    maps = noisy_gradients(images, noise_scale(images))
    wrong = maps.square().sum(0).sqrt() / COPIES
    settings = {"samples": COPIES, "sigma": SIGMA}
    assert_right(SmoothGrad(**settings)(images).values, maps.mean(0), wrong)
    assert_right(SmoothGradSquared(**settings)(images).values, maps.square().mean(0), wrong)
    # MONAI's value is the root of SmoothGrad squared, divided by the root of the number of copies.
    assert gap(wrong * COPIES**0.5, maps.square().mean(0).sqrt()) <= 1e-10


def test_vargrad_subtracts_the_square_of_the_mean():
    """pnpxai subtracts the mean itself; xplique divides by one copy less than Captum does."""
    images = batch()
    maps = noisy_gradients(images, noise_scale(images))
    heatmaps = VarGrad(samples=COPIES, sigma=SIGMA)(images).values
    assert_right(heatmaps, maps.var(0, correction=0), maps.square().mean(0) - maps.mean(0))
    assert_right(heatmaps, maps.var(0, correction=0), maps.var(0, correction=1))
    assert bool((heatmaps >= 0).all())


def test_noise_is_a_share_of_each_images_own_range():
    """OmniXAI uses the range of the batch, Captum and xplique a fixed number whatever the range of the image."""
    images = batch()
    factors = torch.tensor([1.0, 0.1, 1.0, 0.01], dtype=torch.float64)[:, None, None, None]
    images = images.at(images.images * factors)
    heatmaps = SmoothGradSquared(samples=COPIES, sigma=SIGMA)(images).values
    right = noisy_gradients(images, noise_scale(images)).square().mean(0)
    scale_of_batch = SIGMA * (images.images.max() - images.images.min())
    for scale in (scale_of_batch, SIGMA):
        assert_right(heatmaps, right, noisy_gradients(images, scale).square().mean(0))
    absolute = SmoothGradSquared(samples=COPIES, sigma=SIGMA, relative=False)(images).values
    assert gap(absolute, noisy_gradients(images, SIGMA).square().mean(0)) <= 1e-10


# heads and input channels


class Grey(Model):
    """A linear network of three classes for images of one channel."""

    classes = ("a", "b", "c")

    def build(self) -> nn.Module:
        return drawn(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 0)


def test_the_head_does_not_depend_on_the_channels_of_the_image():
    """MONAI applies a sigmoid to the logits of grey images, however many classes there are."""
    model = Grey()
    logits = model.network(torch.ones(1, 1, 4, 4)).detach()[0]
    probabilities = model.read(logits.numpy()).probabilities
    assert probabilities == pytest.approx(torch.softmax(logits, 0).numpy(), rel=1e-6)
    assert np.abs(probabilities - torch.sigmoid(logits).numpy()).max() > 0.01


def test_occlusion_of_a_grey_image_measures_the_fall_of_the_score():
    """MONAI measures the fall of the sigmoid instead."""
    model = in_float64(Grey())
    images = torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    heatmap = Occlusion(patch=1, stride=1)(Batch(model, ["a"], images, [1])).values
    falls = {}
    for name, read in (("score", lambda logits: logits), ("sigmoid", torch.sigmoid)):
        fall = torch.zeros(16, dtype=torch.float64)
        for pixel in range(16):
            occluded = images.clone()
            occluded.view(-1)[pixel] = 0
            scores = [read(model.network(values))[0, 1] for values in (images, occluded)]
            fall[pixel] = (scores[0] - scores[1]).detach()
        falls[name] = fall.reshape(1, 1, 4, 4)
    assert_right(heatmap, falls["score"], falls["sigmoid"])


# settings


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(IntegratedGradients, {"n_steps": 10}), (SmoothGrad, {"nt_samples": 5}), (GradCam, {"target_layer": "last"})],
)
def test_a_setting_of_another_name_is_refused(kind: type[Explainer], settings: dict[str, Any]):
    """Quantus ignores ``n_steps`` and explains with 10 steps."""
    with pytest.raises(HeatproofError, match=f"{kind.__name__}: {next(iter(settings))}: "):
        kind(**settings)


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_integrated_gradients_takes_the_steps_of_its_setting(steps: int):
    """Quantus takes 10 steps whatever the setting."""
    images = batch(2)
    total = torch.zeros_like(images.images)
    for step in range(steps):
        point = (images.images * (step + 0.5) / steps).requires_grad_()
        scores = images.model.network(point).gather(1, images.targets[:, None])
        total += torch.autograd.grad(scores.sum(), point)[0]
    assert gap(IntegratedGradients(steps=steps)(images).values, images.images * total / steps) <= 1e-10


class Again(Metric):
    """The relative distance of a heatmap from a second one that the metric asks of the explainer."""

    needs = frozenset({"heatmap", "explainer"})

    def measure(self, case: Case) -> dict[str, float]:
        assert case.heatmap is not None
        assert case.explain is not None
        assert case.batch is not None
        (again,) = case.explain(case.batch)
        return {"value": float(np.abs(again - case.heatmap.values).max() / np.abs(again).max())}


class AgainPlugin:
    """A plugin that registers the metric ``again``."""

    @staticmethod
    @hookimpl
    def heatproof_metrics() -> Mapping[str, str]:
        return {"again": "heatproof_parts:Again"}


@pytest.fixture
def table(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run explainers on four images; returns the columns of the score table, without the random baseline's rows."""
    monkeypatch.setattr("heatproof_parts.Again", Again, raising=False)
    monkeypatch.setattr("heatproof_parts.again", AgainPlugin, raising=False)
    entries = [
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1"),
        Announcement("again", "heatproof_parts:again", "heatproof-again", "1"),
    ]
    for name in ("baseline", "cam", "gradient", "smoothgrad"):
        entries.append(Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1"))
    catalog = Catalog(entries)

    def columns(*explainers: Any, metrics: Any = ("mass",), **settings: Any) -> dict[str, Any]:
        config = {
            "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 8}],
            "models": ["residual"], "explainers": list(explainers), "metrics": list(metrics), "rows": 2, "threads": 1,
            "device": "cpu", "statistics": {"resamples": 50, "permutations": 50},
        }  # fmt: skip
        run(from_plain({**config, **settings}, catalog), catalog)
        scores = read_table(tmp_path / "run/scores.parquet")
        return {name: values[scores["explainer"] != "random"] for name, values in scores.items()}

    return columns


def test_a_metric_that_explains_again_sees_the_explainer_of_the_heatmap(table: Any):
    """In Quantus the heatmap is a plain gradient, but the explanations inside the metric are integrated gradients."""
    explainers = [{"use": "integrated_gradients", "steps": 3}, {"use": "smoothgrad", "samples": 3}, "gradient"]
    rows = table(*explainers, metrics=["again"])
    assert set(rows["status"]) == {"valid"}
    assert rows["value"].max() <= 1e-5
    assert len(rows["value"]) == 4 * len(explainers)


ESTIMATORS = (
    {"use": "smoothgrad", "samples": 2}, {"use": "smoothgrad", "samples": 3},
    {"use": "smoothgrad", "samples": 3, "sigma": 0.1}, {"use": "smoothgrad", "samples": 3, "relative": False},
    {"use": "smoothgrad", "samples": 3, "base": "input_x_gradient"}, {"use": "vargrad", "samples": 3},
    {"use": "integrated_gradients", "steps": 4}, {"use": "integrated_gradients", "steps": 4, "rule": "left"},
    {"use": "integrated_gradients", "steps": 4, "baseline": 0.5}, {"use": "gradcam", "layer": "stem"},
    {"use": "gradcam", "layer": "block"},
)  # fmt: skip


def test_every_row_names_the_estimator(table: Any):
    """Libraries compute different numbers under one name; each row lists every setting that changes its number."""
    rows = table(*ESTIMATORS, reductions=["max", "sum"])
    names = sorted(set(zip(rows["explainer"], rows["reduction"])))
    assert len(names) == 2 * len(ESTIMATORS)
    assert len(set(rows["combination"])) == 2 * len(ESTIMATORS)
    for index, text in enumerate(rows["settings"]):
        settings = json.loads(text)
        name = rows["explainer"][index].partition("(")[0]
        kind = {"smoothgrad": SmoothGrad, "vargrad": VarGrad, "integrated_gradients": IntegratedGradients}.get(name)
        assert settings["explainer"].keys() == {"use", *(kind or GradCam).Params.model_fields}
        assert settings["seed"] == 0
    explainers = {json.dumps(json.loads(text)["explainer"], sort_keys=True) for text in rows["settings"]}
    assert len(explainers) == len(ESTIMATORS)
    described = [json.loads(text) for text in explainers]
    for estimator in ESTIMATORS:
        assert any(_has_settings(entry, estimator) for entry in described)


def _has_settings(entry: Mapping[str, Any], estimator: Mapping[str, Any]) -> bool:
    return all(_is_setting(entry[name], value) for name, value in estimator.items())


def _is_setting(actual: Any, expected: Any) -> bool:
    """Whether an entry of the score table has this value; the names of components have the prefix of their plugin."""
    if isinstance(actual, dict):
        actual = actual["use"]
    return actual == expected or str(actual).endswith(f"/{expected}")


def test_estimators_with_different_settings_give_different_values(table: Any):
    """One name for both would hide the difference."""
    rows = table(*ESTIMATORS)
    values = {
        name: rows["value"][(rows["explainer"] == name) & (rows["measure"] == "value")]
        for name in set(rows["explainer"])
    }
    for first, second in combinations(values, 2):
        assert not np.allclose(values[first], values[second], rtol=1e-6, atol=0), (first, second)
