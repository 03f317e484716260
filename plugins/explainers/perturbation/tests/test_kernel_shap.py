"""KernelSHAP against Shapley values by enumeration of orders and sets, captum with the same masks, and its axioms."""

import itertools
import math
from functools import cache

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError, ModelError, Undefined
from heatproof.model import Model
from heatproof.seeding import generator
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_perturbation.kernel_shap import KernelShap, constrained, enumerates, sampled, shapley_kernel
from heatproof_perturbation.superpixels import superpixel_means

SPACE = (6, 12)
GRID = {"segmentation": "grid", "cell": 3}
"""Oblong images of 2 × 4 squares."""
LABELS = torch.arange(8).reshape(2, 4).repeat_interleave(3, 0).repeat_interleave(3, 1)


@cache
def model_of() -> Model:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 5), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(21, 2)
    )  # fmt: skip
    return Model.of(toys.drawn(network, 0).double().eval(), ("a", "b"))


def batch(count: int = 2, **changes) -> Batch:
    images = torch.randn(count, 2, *SPACE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(model_of(), list("abc")[:count], images, [1, 0, 1][:count], **changes)


Scores = dict[tuple[int, ...], float]


@torch.no_grad()
def scores_of(images: Batch, row: int, off: str) -> Scores:
    """The score of an image with some squares on, for all sets of them."""
    image = images.images[row]
    background = superpixel_means(image, LABELS) if off == "mean" else torch.zeros_like(image)
    sets = [on for size in range(9) for on in itertools.combinations(range(8), size)]
    shown = torch.stack([torch.isin(LABELS, torch.tensor(on, dtype=torch.long)) for on in sets])[:, None]
    scores = images.model.network(torch.where(shown, image, background))[:, images.targets[row]]
    return dict(zip(sets, scores.tolist()))


def plain_shapley(scores: Scores) -> np.ndarray:
    """The mean gain of each square over all sets of the others, weighted by the orders in which they come first."""
    values = np.zeros(8)
    for on, score in scores.items():
        for player in set(range(8)) - set(on):
            orders = math.factorial(len(on)) * math.factorial(7 - len(on)) / math.factorial(8)
            values[player] += orders * (scores[tuple(sorted((*on, player)))] - score)
    return values


@conforms(KernelShap(segmentation="grid", cell=6, samples=60, off="zero"))
def test_conformance(check):
    check()


@pytest.mark.parametrize("off", ["mean", "zero"])
def test_eight_superpixels_have_their_exact_shapley_values(off):
    images = batch()
    explanation = KernelShap(**GRID, samples=256, off=off)(images)
    assert explanation.notes == {"superpixels": [8, 8], "degenerate": [0.0, 0.0]}
    scores = scores_of(images, 1, off)
    values = plain_shapley(scores)
    torch.testing.assert_close(explanation.values[1, 0], torch.from_numpy(values)[LABELS], rtol=1e-9, atol=1e-12)
    assert values.sum() == pytest.approx(scores[tuple(range(8))] - scores[()], rel=1e-9)


@pytest.mark.parametrize("off", ["mean", "zero"])
def test_captum_agrees_with_the_same_masks(off):
    """Captum gives the two ends a weight of 10⁶ where here they are met exactly, and rounds to float32."""
    images = batch(1, seed=3)
    explainer = KernelShap(**GRID, samples=60, off=off)
    masks = sampled(generator(3, "a", "kernel shap"), 8, 60)
    shap = captum.attr.KernelShap(images.model.network)

    def our_masks(original, **settings):
        yield from torch.from_numpy(masks)[:, None]

    shap.perturb_func = our_masks
    baselines = {"mean": superpixel_means(images.images[0], LABELS)[None], "zero": 0}
    expected = shap.attribute(
        images.images, baselines=baselines[off], target=1, feature_mask=LABELS[None, None], n_samples=60
    )
    actual = explainer(images).values
    assert float((actual - expected[:, :1]).abs().max() / expected.abs().max()) <= 1e-4


def test_samples_approach_the_exact_values_and_always_sum_to_the_gain():
    images = batch(1)
    exact = KernelShap(**GRID, samples=256)(images).values
    for samples, error in ((40, 0.5), (250, 0.15)):
        actual = KernelShap(**GRID, samples=samples)(images).values
        assert 1e-6 < float((actual - exact).norm() / exact.norm()) < error
        assert float(actual.sum()) == pytest.approx(float(exact.sum()), rel=1e-9)


def test_sets_are_drawn_by_the_shapley_kernel_with_their_complements():
    masks = sampled(np.random.default_rng(0), 6, 40_002)
    assert masks[:2].tolist() == [[0] * 6, [1] * 6]
    assert (masks[2::2] + masks[3::2] == 1).all()
    sizes = np.bincount(masks[2:].sum(1), minlength=7)[1:6] / 40_000
    expected = shapley_kernel(6)[1:6] * [math.comb(6, size) for size in range(1, 6)]
    assert sizes == pytest.approx(expected / expected.sum(), abs=0.01)
    assert masks[2:].mean(0) == pytest.approx([0.5] * 6, abs=0.01)


def test_the_number_of_samples_decides_whether_all_sets_are_scored():
    assert [enumerates(3, samples) for samples in (7, 8, 9)] == [False, True, True]
    masks = np.array([[0, 0], [1, 1], [1, 0], [0, 1]])
    scores = np.array([1.0, 8.0, 3.0, 4.0])
    assert constrained(masks, scores, np.ones(2)) == pytest.approx([3.0, 4.0])  # (2 + 4) / 2 and (3 + 5) / 2
    assert constrained(masks[:2], scores[:2], np.ones(0)) is None


def test_draws_depend_only_on_the_sample_and_rows_do_not_matter():
    explainer = KernelShap(**GRID, samples=30)
    together = explainer(batch(3, rows=7)).values
    alone = explainer(batch(3).select([2])).values
    torch.testing.assert_close(together[2:], alone, rtol=1e-10, atol=1e-12)


def test_further_inputs_belong_to_their_sample(gained):
    gain = torch.tensor([0.5, 3.0], dtype=torch.float64)
    plain = batch()
    batch_with_gains = gained(plain, model_of().network, gain, rows=3)
    explainer = KernelShap(**GRID, samples=30)
    expected = explainer(plain).values * gain[:, None, None, None]
    torch.testing.assert_close(explainer(batch_with_gains).values, expected, rtol=1e-9, atol=1e-12)


def test_too_few_samples_and_a_single_superpixel_are_refused():
    with pytest.raises(ModelError, match="12 samples are too few for 8 superpixels; set samples to 16 at the least"):
        KernelShap(**GRID, samples=12)(batch())
    with pytest.raises(Undefined, match="grid finds only one superpixel"):
        KernelShap(segmentation="grid", cell=20)(batch())
    with pytest.raises(HeatproofError, match="samples"):
        KernelShap(samples=3)
    assert KernelShap(samples=50).passes == (50, 0)
    assert KernelShap().traits == {"seeded"}
    assert KernelShap(off="zero").traits == {"seeded", "signed"}


def test_slic_segments_a_real_prepared_image():
    model = in_float64(toys.Residual())
    image = torch.from_numpy(model.samples(1)[0].image).double()[None]
    explanation = KernelShap(segments=9, samples=100)(Batch(model, ["a"], image, [0]))
    assert explanation.notes["superpixels"][0] >= 4
    assert len(explanation.values.unique()) <= explanation.notes["superpixels"][0]
