"""The Gaussian blur against SciPy's."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heatproof_fundus.blur import blurred

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(40, 60), (5, 90), (1, 7)])
@pytest.mark.parametrize("sigma", [0.6, 7.47])
def test_blur_equals_scipy(shape: tuple[int, int], sigma: float) -> None:
    image = RANDOM.random((2, *shape)).astype(np.float32)
    expected = gaussian_filter(image.astype(np.float64), (0, sigma, sigma), mode="mirror", truncate=4)
    np.testing.assert_allclose(blurred(image, sigma), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 60), (61, 300), (300, 5)])
def test_the_blur_of_a_constant_is_that_constant(shape: tuple[int, int]) -> None:
    np.testing.assert_allclose(blurred(np.full((2, *shape), 7, dtype=np.float32), 7.5), 7, rtol=1e-6)
