"""Sensitivities against ``numpy.interp`` on sorted curves, and against values found by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof_froc.curve import RATES, extrapolated, sensitivity_at


def plain(x: NDArray[Any], y: NDArray[Any], rate: float, interpolation: str) -> float:
    """Sort by false positives and sensitivity, make the curve monotone, and interpolate."""
    points = sorted([(0.0, 0.0), *zip(x.tolist(), y.tolist())])
    xs = np.array([point[0] for point in points])
    ys = np.maximum.accumulate([point[1] for point in points])
    within = np.flatnonzero(xs <= rate)
    if interpolation == "step" or rate in xs:
        return float(ys[within[-1]])
    return float(np.interp(rate, xs, ys))


@pytest.mark.parametrize("interpolation", ["linear", "step"])
def test_random_curves_that_fold_back(interpolation: Any) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 40, (200, 3, 12)) / 4
    y = generator.integers(0, 11, (200, 3, 12)) / 10
    rates = (0.1, 0.25, 1, 3.3, 9.75, 20)
    read = sensitivity_at(x, y, rates, interpolation)
    expected = [[[plain(*curve, rate, interpolation) for rate in rates] for curve in zip(*rows)] for rows in zip(x, y)]
    assert read.shape == (200, 3, 6)
    np.testing.assert_allclose(read, expected, rtol=1e-12)


def test_order_of_the_points_does_not_matter() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.random((2, 9)) * 8
    order = generator.permutation(9)
    assert sensitivity_at(x, y).tolist() == sensitivity_at(x[order], y[order]).tolist()


def test_a_curve_without_points_finds_nothing() -> None:
    assert sensitivity_at(np.empty(0), np.empty(0)).tolist() == [0] * 7
    assert extrapolated(np.empty(0)) == 1


@pytest.mark.parametrize(("last", "share"), [(0, 1), (1 / 8, 6 / 7), (0.2, 6 / 7), (7.9, 1 / 7), (8, 0), (50, 0)])
def test_extrapolated(last: float, share: float) -> None:
    assert RATES == (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
    assert extrapolated(np.array([[last, 0.0]])).tolist() == [pytest.approx(share)]
