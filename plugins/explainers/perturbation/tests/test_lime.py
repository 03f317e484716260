"""LIME against its invariants, captum's Lime and an enumeration of all masks."""

import itertools

import captum.attr
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from PIL import Image
from skimage.segmentation import quickshift, slic
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, ModelError, Undefined
from heatproof.model import Model
from heatproof.seeding import generator
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_perturbation.lime import Lime, coefficients
from heatproof_perturbation.occlusion import Occlusion
from heatproof_perturbation.superpixels import segmented, superpixel_means

QUARTERS = torch.tensor([[0, 1], [2, 3]]).repeat_interleave(4, 0).repeat_interleave(4, 1)


def weighted(weights: Tensor) -> Model:
    """The sum of weights (class, c, *space) times values, per class."""
    layer = nn.Linear(weights[0].numel(), len(weights), bias=False)
    layer.weight.data = weights.flatten(1)
    return Model.of(nn.Sequential(nn.Flatten(), layer).double(), map(str, range(len(weights))))


def quarters(channels: int = 3, noise: float = 0.02) -> Tensor:
    """Images (2, c, 8, 8) of four quarters of different colour, which SLIC and quickshift tell apart."""
    generator = torch.Generator().manual_seed(2)
    colours = torch.tensor([[0.1, 0.9, 0.5, 0.3], [0.8, 0.2, 0.4, 0.0]], dtype=torch.float64)
    images = colours[:, QUARTERS][:, None].expand(2, channels, 8, 8) * torch.linspace(1, 0.5, channels)[:, None, None]
    return images + noise * torch.rand(2, channels, 8, 8, dtype=torch.float64, generator=generator)


def explained(model: Model, images: Tensor, targets: list[int], ids: str = "ab", rows: int | None = None, **settings):
    settings = {"segments": 4, "samples": 300} | settings
    return Lime(**settings)(Batch(model, list(ids)[: len(images)], images, targets, rows=rows))


@conforms(
    Lime(segments=9, samples=30), Lime(segments=9, samples=30, off="zero"),
    Lime(segments=16, samples=30, off="zero", kernel_width=1.0, ridge=0.0),
)  # fmt: skip
def test_conformance(check):
    check()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_equal_weights_inside_each_superpixel_get_nothing(channels):
    """Switching a superpixel off keeps its weighted sum, since the mean has the same sum as the pixels."""
    weights = torch.tensor([[1.0, 2.0, 3.0, 0.5], [0.3, 4.0, 1.0, 2.0]], dtype=torch.float64)[:, QUARTERS]
    model = weighted(weights[:, None].expand(2, channels, 8, 8))
    explanation = explained(model, quarters(channels), [0, 1])
    assert explanation.notes["superpixels"] == [4, 4]
    assert explanation.notes["degenerate"] == [1.0, 1.0]
    assert float(explanation.values.abs().max()) < 1e-10


def test_an_additive_model_gets_the_sum_of_each_superpixel():
    """For ``off: zero`` without penalty; 300 samples of 4 superpixels contain all 16 masks."""
    images = quarters()
    weights = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    explanation = explained(weighted(weights), images, [1, 0], off="zero", ridge=0.0)
    sums = torch.stack([(weights[target] * image).sum(0) for target, image in zip([1, 0], images)])
    expected = sums.reshape(2, 2, 4, 2, 4).sum((2, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(explanation.values[:, 0], expected, rtol=1e-9, atol=0)
    assert explanation.notes == {"superpixels": [4, 4], "degenerate": [0.0, 0.0]}


def test_coefficients_of_all_masks_are_those_of_the_normal_equations():
    masks = np.array(list(itertools.product((0, 1), repeat=5)))
    scores = np.random.default_rng(0).normal(size=32) + masks @ np.arange(5.0)
    norms = np.sqrt(masks.sum(1)) * np.sqrt(5)
    distances = 1 - masks.sum(1) / np.maximum(norms, 1)  # no norm of a mask lies between 0 and 1
    weights = np.diag(np.exp(-np.square(distances) / (2 * 0.25**2)))
    design = np.column_stack([masks, np.ones(32)])
    penalty = np.diag([0.7] * 5 + [0.0])
    expected = np.linalg.solve(design.T @ weights @ design + penalty, design.T @ weights @ scores)[:5]
    assert coefficients(masks, scores, 0.25, 0.7) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("off", ["mean", "zero"])
@pytest.mark.parametrize("segmentation", ["slic", "grid", "file", "folder"])
def test_captum_agrees_with_the_same_masks(segmentation, off, tmp_path):
    """The tolerance is 1e-4, since captum's Lime rounds masks, scores and coefficients to float32."""
    model = in_float64(toys.Residual())
    sample = torch.from_numpy(model.samples(1)[0].image).double()[None]
    batch = Batch(model, ["a"], sample, [1], seed=7)
    explainer = Lime(segmentation="slic", segments=12, cell=6, samples=80, off=off)
    feature_mask = segmented(sample[0].numpy(), explainer.params)
    if segmentation == "grid":
        feature_mask = np.arange(16)[:, None] // 6 * 3 + np.arange(16) // 6
    if segmentation in ("file", "folder"):
        feature_mask = np.arange(16)[:, None] // 4 + np.arange(16) // 8
        Image.fromarray(np.array([7, 30, 31, 200, 255], dtype=np.uint8)[feature_mask]).save(tmp_path / "a.png")
        segmentation = {"file": tmp_path / "a.png", "folder": tmp_path}[segmentation]
    explainer = explainer.with_(segmentation=segmentation)
    labels = torch.from_numpy(feature_mask)
    count = int(labels.max()) + 1
    masks = generator(7, "a", "lime").integers(0, 2, (80, count))
    masks[0] = 1

    def our_masks(original, **settings):
        yield from torch.from_numpy(masks)[:, None]

    def similarity(original, perturbed, mask, **settings):
        distance = 1 - torch.cosine_similarity(mask.double(), torch.ones(1, count, dtype=torch.float64))
        return torch.exp(-distance.square() / (2 * 0.25**2))

    lime = captum.attr.Lime(model.network, SkLearnRidge(alpha=1.0), similarity, our_masks)
    baselines = {"mean": superpixel_means(sample[0], labels)[None], "zero": 0}
    expected = lime.attribute(sample, baselines=baselines[off], target=1, feature_mask=labels[None, None], n_samples=80)
    heatmap = explainer(batch).values
    assert count >= 5
    assert float((heatmap - expected[:, :1]).abs().max() / expected.abs().max()) <= 1e-4


def test_equal_masks_are_scored_once(monkeypatch):
    counts = []
    score = Batch.score

    def counted(self, images, index):
        counts.append(len(images))
        return score(self, images, index)

    monkeypatch.setattr(Batch, "score", counted)
    model = weighted(torch.ones(1, 3, 8, 8, dtype=torch.float64))
    explained(model, quarters()[:1], [0], rows=5)
    assert counts == [5, 5, 5, 1]


def test_draws_depend_only_on_the_sample():
    model = in_float64(toys.Residual())
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(3)]).double()
    settings = {"segments": 9, "samples": 30, "off": "zero"}
    together = explained(model, images, [0, 1, 2], "abc", **settings).values
    alone = explained(model, images[2:], [2], "c", **settings).values
    torch.testing.assert_close(together[2:], alone, rtol=1e-10, atol=0)
    renamed = explained(model, images[2:], [2], "d", **settings).values
    assert not torch.allclose(renamed, alone)


def test_superpixel_means_are_the_mean_of_each_superpixel():
    image = quarters()[0]
    means = superpixel_means(image, QUARTERS)
    for label in range(4):
        inside = label == QUARTERS
        torch.testing.assert_close(means[:, inside], image[:, inside].mean(1, keepdim=True).expand(-1, 16))


@pytest.mark.parametrize("segmentation", ["slic", "quickshift"])
def test_superpixels_are_those_of_scikit_image(segmentation):
    pixels = toys.Blobs().load("blob-000").image.astype(np.float64)
    scaled = np.moveaxis((pixels - pixels.min()) / np.ptp(pixels), 0, -1)
    expected = {
        "slic": lambda: slic(scaled, n_segments=30, compactness=20, start_label=0),
        "quickshift": lambda: quickshift(scaled, kernel_size=4, max_dist=200, ratio=0.2),
    }[segmentation]()
    labels = segmented(pixels, Lime(segmentation=segmentation, segments=30, compactness=20).params)
    pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist()))
    assert len(pairs) == labels.max() + 1 == len(np.unique(expected)) > 1


def test_superpixels_follow_the_shades_of_an_image_without_colours():
    disc = np.hypot(*(np.indices((32, 32)) - 13.3)) < 8
    labels = segmented(np.stack([disc * 1.0 + 5]), Lime(segments=12).params)
    assert all(len(set(disc[labels == label])) == 1 for label in range(labels.max() + 1))


def test_superpixels_ignore_the_scale_of_the_prepared_image():
    sample = toys.Residual().samples(1)[0].image.astype(np.float64)
    params = Lime(segments=12).params
    expected = segmented(sample, params)
    assert np.array_equal(segmented(sample * 4.0 - 2.0, params), expected)
    assert sorted(set(expected.ravel())) == list(range(expected.max() + 1))


def test_a_constant_image_is_degenerate_or_undefined():
    model = in_float64(toys.Residual())
    image = torch.full((1, 3, 16, 16), 0.4, dtype=torch.float64)
    explanation = explained(model, image, [0], segments=9)
    assert explanation.notes["degenerate"] == [1.0]
    with pytest.raises(Undefined, match="quickshift finds only one superpixel in the image"):
        explained(model, image, [0], segmentation="quickshift")


def test_a_volume_is_refused():
    volume = Batch(toys.Residual(dimensions=3), ["a"], torch.rand(1, 3, 16, 16, 16), [0])
    with pytest.raises(ModelError, match="2-D images; these have 3 dimensions"):
        Lime()(volume)


def test_traits_and_passes():
    assert Lime().traits == {"seeded"}
    assert Lime(off="zero").traits == {"seeded", "signed"}
    assert Lime(samples=50).passes == (50, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"segmentation": "felzenszwalb"}, {"cell": 0}, {"segments": 0}, {"compactness": 0}, {"off": "blur"},
        {"samples": 1}, {"kernel_width": 0}, {"kernel_width": float("inf")}, {"ridge": -1},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(HeatproofError, match=next(iter(settings))):
        Lime(**settings)


@pytest.mark.parametrize("explainer", [Lime(), Occlusion(patch=8, stride=8, value="mean")], ids=["lime", "occlusion"])
def test_means_beyond_the_largest_number_are_refused(explainer):
    images = torch.full((1, 3, 16, 16), 1e38)
    images[..., 8:] = 2e38
    with pytest.raises(DataError, match="of a holds values that are not finite; scale the image"):
        explainer(Batch(toys.Residual(), ["a"], images, [0]))


def test_colours_are_labels_too_and_files_that_do_not_fit_are_refused(tmp_path):
    colours = np.zeros((8, 8, 3), dtype=np.uint8)
    colours[:4, :4] = (255, 0, 0)
    colours[4:, 4:] = (0, 0, 255)
    Image.fromarray(colours).save(tmp_path / "a.png")
    model = weighted(torch.ones(1, 3, 8, 8, dtype=torch.float64))
    assert explained(model, quarters()[:1], [0], segmentation=tmp_path).notes["superpixels"] == [3]
    large = Batch(toys.Residual(), ["a"], torch.ones(1, 3, 16, 16), [0])
    with pytest.raises(DataError, match=r"a\.png has 8 x 8 pixels, the prepared image of a 16 x 16; give labels"):
        Lime(segmentation=tmp_path)(large)
    Image.fromarray(colours).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"has 2 files of labels for a; give one, such as .*a\.png"):
        explained(model, quarters()[:1], [0], segmentation=tmp_path)
    with pytest.raises(HeatproofError, match=r"missing is no file or folder .* segmentation is slic, quickshift, grid"):
        Lime(segmentation=tmp_path / "missing")
    nested = Batch(toys.Residual(), ["b/a"], torch.ones(1, 3, 16, 16), [0])
    with pytest.raises(DataError, match=r"has no files of labels for b/a; give one, such as .*b_a\.png"):
        Lime(segmentation=tmp_path)(nested)
    identity = Lime(segmentation=tmp_path).identity
    (tmp_path / "a.tif").unlink()
    assert Lime(segmentation=tmp_path).identity != identity
