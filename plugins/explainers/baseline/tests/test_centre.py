"""Checks the formula and the symmetry of the centre heatmap, and that it depends on the grid alone."""

import math

import pytest
import torch

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.testing import conforms, toys
from heatproof_baseline.centre import Centre


def heatmap(space, sigma=0.25, value=0.0, dtype=torch.float64):
    images = torch.full((2, 3, *space), value, dtype=dtype)
    return Centre(sigma=sigma)(Batch(toys.Residual(), ["a", "b"], images, [0, 1])).values


@conforms(Centre())
def test_conformance(check):
    check()


@pytest.mark.parametrize("space", [(4, 4), (5, 9), (3, 4, 6)])
@pytest.mark.parametrize("sigma", [0.1, 0.25])
def test_values_follow_the_formula(space, sigma):
    actual = heatmap(space, sigma)
    assert actual.shape == (2, 1, *space)
    for position in torch.cartesian_prod(*map(torch.arange, space)).tolist():
        coordinates = [(index + 0.5) / size - 0.5 for index, size in zip(position, space)]
        expected = math.exp(-sum(coordinate**2 for coordinate in coordinates) / (2 * sigma**2))
        assert float(actual[1, 0][tuple(position)]) == pytest.approx(expected, rel=1e-12)


def test_the_centre_is_one_and_the_heatmap_is_symmetric():
    actual = heatmap((5, 7))[0, 0]
    assert float(actual[2, 3]) == float(actual.max()) == 1.0
    torch.testing.assert_close(actual, actual.flip(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(actual, actual.flip(1), rtol=1e-14, atol=0)


def test_a_finer_grid_has_the_same_values():
    coarse = heatmap((9, 9))[0, 0]
    fine = heatmap((27, 27))[0, 0]
    torch.testing.assert_close(fine[1::3, 1::3], coarse, rtol=1e-12, atol=0)


def test_the_image_does_not_matter():
    assert torch.equal(heatmap((6, 6)), heatmap((6, 6), value=1.0))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_an_invalid_width_is_an_error(sigma):
    with pytest.raises(HeatproofError, match="sigma"):
        Centre(sigma=sigma)
