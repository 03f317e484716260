"""Both statistics against small examples, the published formulas, and closed forms at their extremes."""

from math import exp

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from heatproof_doctor.discriminators import DISCRIMINATORS

ROWS = {
    (0.7, 0.2, 0.1): (0.85185185, 0.42857143),
    (0.5, 0.3, 0.2): (1.63157895, 1),
    (0.5, 0.25, 0.25): (1.66666667, 1),
    (0.9, 0.1): (0.21951220, 0.11111111),
    (1 / 3, 1 / 3, 1 / 3): (2, 2),
}


def value(name: str, weights: NDArray[np.float64]) -> float:
    """A statistic of a distribution (class,) that is known up to a factor."""
    return float(DISCRIMINATORS[name](torch.from_numpy(weights)[None].log().log_softmax(1)).exp())


@pytest.mark.parametrize(("row", "expected"), ROWS.items())
def test_vector(row: tuple[float, ...], expected: tuple[float, float]) -> None:
    """Statistics of five distributions, computed by hand."""
    weights = np.array(row)
    assert (value("alpha", weights), value("beta", weights)) == pytest.approx(expected, abs=5e-9)


def test_a_thousand_random_rows_against_the_formulas() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        share = generator.dirichlet(np.ones(generator.integers(2, 9)))
        squares = float((share**2).sum())
        assert value("alpha", share) == pytest.approx((1 - squares) / squares, rel=1e-9)
        assert value("beta", share) == pytest.approx((1 - share.max()) / share.max(), rel=1e-9)
        for statistic in DISCRIMINATORS:
            assert 0 <= value(statistic, share) <= len(share) - 1 + 1e-12
            assert value(statistic, 7 * share) == pytest.approx(value(statistic, share), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_ends(classes: int) -> None:
    for statistic in DISCRIMINATORS:
        assert value(statistic, np.eye(classes)[1]) == 0
        assert value(statistic, np.ones(classes)) == pytest.approx(classes - 1)


def test_almost_certain_decisions_are_kept_apart() -> None:
    """Beyond the digits of 1 - p: with logits (z, 0) beta is exp(-z), alpha twice that."""
    for z in (50, 60, 300):
        weights = np.exp(np.array([0.0, -z]))
        assert value("beta", weights) == pytest.approx(exp(-z), rel=1e-12)
        assert value("alpha", weights) == pytest.approx(2 * exp(-z), rel=1e-12)


def test_two_classes_are_ranked_alike() -> None:
    shares = np.random.default_rng(1).random(500)
    rows = np.stack([shares, 1 - shares], axis=1)
    orders = [np.argsort([value(statistic, row) for row in rows]) for statistic in DISCRIMINATORS]
    np.testing.assert_array_equal(*orders)
