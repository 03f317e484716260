"""Checks the edges of images against scipy's Sobel filter."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from heatproof.batch import Batch
from heatproof.testing import conforms, toys
from heatproof_baseline.input_edges import InputEdges


def explained(images):
    ids = [str(index) for index in range(len(images))]
    return InputEdges()(Batch(toys.Residual(), ids, images, [0] * len(images)))


@conforms(InputEdges())
def test_conformance(check):
    check()


@pytest.mark.parametrize("space", [(7, 10), (1, 6), (4, 5, 6)])
def test_scipy_agrees(space):
    images = np.random.default_rng(0).normal(size=(2, 3, *space))
    actual = explained(torch.from_numpy(images)).values.numpy()
    for index in np.ndindex(2, 3):
        slopes = [ndimage.sobel(images[index], axis) for axis in range(len(space))]
        np.testing.assert_allclose(actual[index], np.sqrt(sum(slope**2 for slope in slopes)), rtol=1e-12, atol=1e-14)


def test_a_step_has_values_beside_the_step_only():
    images = torch.zeros(1, 1, 4, 6)
    images[..., 3:] = 2.0
    assert explained(images).values[0, 0].tolist() == [[0.0, 0.0, 8.0, 8.0, 0.0, 0.0]] * 4


def test_a_constant_image_is_noted_as_degenerate():
    images = torch.full((2, 3, 5, 5), 0.5)
    images[1, 0, 2, 2] = 1.0
    explanation = explained(images)
    assert explanation.notes == {"degenerate": [1.0, 0.0]}
    assert not explanation.values[0].any()


def test_other_images_and_the_sign_do_not_matter():
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = explained(images).values
    assert torch.equal(together[1:2], explained(images[1:2]).values)
    assert torch.equal(together, explained(-images).values)
