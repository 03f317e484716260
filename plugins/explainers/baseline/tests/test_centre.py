"""The centre baseline: its formula, its middle, and its ignorance of all but the grid."""

import math

import pytest
import torch

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.testing import conforms, toys
from heatproof_baseline.centre import Centre


def bell(space, sigma=0.25, value=0.0, dtype=torch.float64):
    images = torch.full((2, 3, *space), value, dtype=dtype)
    return Centre(sigma=sigma)(Batch(toys.Residual(), ["a", "b"], images, [0, 1])).values


@conforms(Centre())
def test_conformance(check):
    check()


@pytest.mark.parametrize("space", [(4, 4), (5, 9), (3, 4, 6)])
@pytest.mark.parametrize("sigma", [0.1, 0.25])
def test_the_values_are_those_of_the_formula(space, sigma):
    found = bell(space, sigma)
    assert found.shape == (2, 1, *space)
    for place in torch.cartesian_prod(*map(torch.arange, space)).tolist():
        shares = [(index + 0.5) / size - 0.5 for index, size in zip(place, space)]
        expected = math.exp(-sum(share**2 for share in shares) / (2 * sigma**2))
        assert float(found[1, 0][tuple(place)]) == pytest.approx(expected, rel=1e-12)


def test_the_middle_is_one_and_every_mirror_image_the_same():
    found = bell((5, 7))[0, 0]
    assert float(found[2, 3]) == float(found.max()) == 1.0
    torch.testing.assert_close(found, found.flip(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(found, found.flip(1), rtol=1e-14, atol=0)


def test_a_finer_grid_shows_the_same_bell():
    coarse, fine = bell((9, 9))[0, 0], bell((27, 27))[0, 0]
    torch.testing.assert_close(fine[1::3, 1::3], coarse, rtol=1e-12, atol=0)


def test_the_image_does_not_matter():
    assert torch.equal(bell((6, 6)), bell((6, 6), value=1.0))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_a_width_that_shows_nothing_is_refused(sigma):
    with pytest.raises(HeatproofError, match="sigma"):
        Centre(sigma=sigma)
