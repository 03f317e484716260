"""RISE against the authors' computation with the same masks, closed forms, and its expectation."""

from functools import cache

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import nn

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError
from heatproof.model import Model
from heatproof.seeding import generator
from heatproof.testing import conforms, toys
from heatproof_perturbation.rise import Masks, Rise

SPACE = (8, 13)


@cache
def model_of() -> Model:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    return Model.of(toys.drawn(network, 0).double().eval(), ("a", "b"))


def batch(count: int = 2, **changes) -> Batch:
    images = torch.randn(count, 2, *SPACE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(model_of(), list("abc")[:count], images, [1, 0, 1][:count], **changes)


def plain_masks(id: str, samples: int, cells: int, share: float, seed: int = 0) -> np.ndarray:
    """The masks (mask, h, w) as in the authors' code, by scikit-image; the edge is continued, not reflected."""
    rng = generator(seed, id, "rise")
    sides = np.ceil(np.array(SPACE) / cells).astype(int)
    grids = (rng.random((samples, cells, cells)) < share).astype(float)
    shifts = rng.integers(0, sides, (samples, 2))
    masks = np.empty((samples, *SPACE))
    for index, (grid, (row, column)) in enumerate(zip(grids, shifts)):
        large = resize(grid, (cells + 1) * sides, order=1, mode="edge", anti_aliasing=False)
        masks[index] = large[row : row + SPACE[0], column : column + SPACE[1]]
    return masks


@pytest.mark.slow
@conforms(Rise(samples=36, cells=4))
def test_conformance(check):
    check()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("value", [0.0, "mean", "blur"])
def test_a_plain_loop_over_masks_agrees(value, centred):
    images = batch(seed=5)
    explainer = Rise(samples=12, cells=3, share=0.4, value=value, sigma=1.0, centred=centred)
    explanation = explainer(images)
    for row, id in enumerate(images.ids):
        masks = plain_masks(id, 12, 3, 0.4, seed=5)
        image = images.images[row].numpy()
        hidden = {0.0: 0 * image, "mean": np.broadcast_to(image.mean((1, 2), keepdims=True), image.shape)}.get(value)
        if value == "blur":
            from scipy.ndimage import gaussian_filter

            hidden = np.stack([gaussian_filter(channel, 1.0, mode="nearest") for channel in image])
        shown = [image * mask + hidden * (1 - mask) for mask in masks]
        scores = images.model.network(torch.from_numpy(np.stack(shown))).detach().numpy()[:, images.targets[row]]
        weights = scores - scores.mean() if centred else scores
        parts = weights[:, None, None] * masks / 0.4
        assert explanation.values[row, 0].numpy() == pytest.approx(parts.mean(0), rel=1e-9, abs=1e-12)
        error = np.sqrt((parts.var(0) / 11).sum()) / np.linalg.norm(parts.mean(0))
        assert explanation.notes["relative_error"][row] == pytest.approx(error, rel=1e-6)
    assert explanation.notes["degenerate"] == [0.0, 0.0]


def test_a_linear_score_has_weight_times_pixel_times_the_covariance_of_masks():
    weights = torch.arange(8.0, dtype=torch.float64).reshape(1, 2, 4) - 3
    layer = nn.Linear(8, 1, bias=False)
    layer.weight.data = weights.reshape(1, 8)
    model = Model.of(nn.Sequential(nn.Flatten(), layer).double(), ("a",))
    images = torch.full((1, 1, 2, 4), 2.0, dtype=torch.float64)
    explainer = Rise(samples=4000, cells=4, share=0.3)
    explanation = explainer(Batch(model, ["a"], images, [0], rows=2000))
    masks = Masks.drawn(generator(0, "a", "rise"), 4000, 4, 0.3, (2, 4)).enlarged(slice(None), images).flatten(1)
    expected = (masks.T.cov(correction=0) @ (2 * weights.flatten())) / 0.3
    torch.testing.assert_close(explanation.values.flatten(), expected, rtol=1e-9, atol=1e-9)
    assert expected[0] < 0 < expected[-1]
    assert explanation.notes["relative_error"][0] < 0.1


def test_the_map_of_the_paper_adds_the_mean_score_to_every_pixel():
    images = batch(1, rows=500)
    settings = {"samples": 2000, "cells": 3}
    centred, paper = (Rise(**settings, centred=centred)(images).values for centred in (True, False))
    masks = torch.from_numpy(plain_masks("a", 2000, 3, 0.5))
    offset = (paper - centred)[0, 0] / (masks.mean(0) / 0.5)
    torch.testing.assert_close(offset, offset.mean().expand_as(offset), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_masks_cover_all_sizes(dimensions):
    """Fewer pixels than cells, oblong images, and volumes; values in 0…1 with the mean of the share."""
    for space in ((3,) * dimensions, (9, 5, 7)[:dimensions]):
        masks = Masks.drawn(np.random.default_rng(0), 400, 4, 0.25, space)
        values = masks.enlarged(slice(100, 400), torch.zeros(1, dtype=torch.float64))
        assert values.shape == (300, 1, *space)
        assert 0 <= values.min() < values.max() <= 1
        assert float(values.mean()) == pytest.approx(0.25, abs=0.03)


def test_draws_depend_only_on_the_sample_and_rows_do_not_matter(gained):
    explainer = Rise(samples=30, cells=3)
    together = explainer(batch(3, rows=7)).values
    torch.testing.assert_close(together[2:], explainer(batch(3).select([2])).values, rtol=1e-10, atol=1e-12)
    gain = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    plain = batch(3)
    batch_with_gains = gained(plain, model_of().network, gain, rows=4)
    expected = together * gain[:, None, None, None]
    torch.testing.assert_close(explainer(batch_with_gains).values, expected, rtol=1e-9, atol=1e-12)


def test_what_changes_nothing_is_degenerate_and_what_makes_no_sense_is_refused():
    black = Batch(model_of(), ["a"], torch.zeros(1, 2, *SPACE, dtype=torch.float64), [0])
    explanation = Rise(samples=20)(black)
    assert explanation.notes["degenerate"] == [1.0]
    assert Rise().traits == {"seeded", "signed"}
    assert Rise(centred=False).traits == {"seeded"}
    assert Rise(samples=9).passes == (9, 0)
    for settings in ({"samples": 1}, {"cells": 0}, {"share": 0}, {"share": 1.0}, {"value": "median"}, {"sigma": 0}):
        with pytest.raises(HeatproofError, match=next(iter(settings))):
            Rise(**settings)
    images = torch.full((1, 2, *SPACE), 2e38)
    model = Model.of(toys.drawn(nn.Sequential(nn.Flatten(), nn.Linear(208, 2)), 0), "ab")
    with pytest.raises(DataError, match="what a mask hides of a holds values that are not finite; scale the image"):
        Rise(value="mean", samples=4)(Batch(model, ["a"], images, [0]))
