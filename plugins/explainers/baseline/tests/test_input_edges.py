"""The edge baseline against scipy's Sobel filter."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from heatproof.batch import Batch
from heatproof.testing import conforms, toys
from heatproof_baseline.input_edges import InputEdges


def explained(images):
    return InputEdges()(Batch(toys.Residual(), [str(index) for index in range(len(images))], images, [0] * len(images)))


@conforms(InputEdges())
def test_conformance(check):
    check()


@pytest.mark.parametrize("space", [(7, 10), (1, 6), (4, 5, 6)])
def test_scipy_agrees(space):
    made = np.random.default_rng(0).normal(size=(2, 3, *space))
    found = explained(torch.from_numpy(made)).values.numpy()
    for place in np.ndindex(2, 3):
        slopes = [ndimage.sobel(made[place], axis) for axis in range(len(space))]
        np.testing.assert_allclose(found[place], np.sqrt(sum(slope**2 for slope in slopes)), rtol=1e-12, atol=1e-14)


def test_a_step_is_bright_along_the_step_only():
    made = torch.zeros(1, 1, 4, 6)
    made[..., 3:] = 2.0
    assert explained(made).values[0, 0].tolist() == [[0.0, 0.0, 8.0, 8.0, 0.0, 0.0]] * 4


def test_a_constant_image_is_noted_as_degenerate():
    made = torch.full((2, 3, 5, 5), 0.5)
    made[1, 0, 2, 2] = 1.0
    explanation = explained(made)
    assert explanation.notes == {"degenerate": [1.0, 0.0]}
    assert not explanation.values[0].any()


def test_neither_company_nor_sign_matters():
    made = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = explained(made).values
    assert torch.equal(together[1:2], explained(made[1:2]).values)
    assert torch.equal(together, explained(-made).values)
