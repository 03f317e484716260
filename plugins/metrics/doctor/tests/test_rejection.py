"""Rejection against a small example, scikit-learn, plain loops over thresholds, and closed forms."""

import time
from typing import Any

import numpy as np
import pytest
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from heatproof_doctor.discriminators import DISCRIMINATORS
from heatproof_doctor.rejection import auroc_and_curve, rates

Array = NDArray[Any]

DISTRIBUTIONS = np.array([
    [0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.45, 0.05], [0.4, 0.35, 0.25], [0.7, 0.2, 0.1],
])  # fmt: skip
WRONG = np.array([0.0, 0, 1, 0, 1, 0])


def drawn(generator: np.random.Generator, most: int = 40) -> tuple[Array, Array]:
    """Statistics with ties, decisions of both kinds."""
    count = int(generator.integers(2, most))
    wrong = generator.permutation(np.arange(count) < generator.integers(1, count)).astype(float)
    return generator.integers(0, 10, count) / 7, wrong


def values_of(statistic: str) -> Array:
    """A statistic of the ``DISTRIBUTIONS``."""
    return DISCRIMINATORS[statistic](torch.from_numpy(DISTRIBUTIONS).log()).exp().numpy()


def once(count: int) -> Array:
    return np.ones((1, count), dtype=int)


def plain_curve(statistic: Array, wrong: Array) -> list[float]:
    """The lowest share of right decisions at each percentage of wrong ones, by a loop over thresholds."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(statistic), reverse=True):
        rejected = statistic >= threshold
        points.append((float(np.mean(rejected[wrong == 1])), float(np.mean(rejected[wrong == 0]))))
    curve = []
    for level in (percent / 100 for percent in range(101)):
        after = next(step for step, (reached, _) in enumerate(points) if reached >= level)
        if after == 0:
            curve.append(0.0)
            continue
        (low, false), (high, more) = points[after - 1 : after + 1]
        curve.append(false + (level - low) / (high - low) * (more - false))
    return curve


class TestVector:
    def test_statistics(self) -> None:
        """The statistics of six distributions, computed by hand."""
        expected = [0.22699387, 0.51515152, 1.17391304, 1.1978022, 1.89855072, 0.85185185]
        assert values_of("alpha") == pytest.approx(expected, abs=5e-9)

    @pytest.mark.parametrize("statistic", DISCRIMINATORS)
    def test_auroc(self, statistic: Any) -> None:
        values = values_of(statistic)
        assert auroc_and_curve(values, WRONG, once(6))[0] == pytest.approx(0.875)

    @pytest.mark.parametrize(("gamma", "expected"), [(1, (0.25, 1)), (1.2, (0, 0.5))])
    def test_rates(self, gamma: float, expected: tuple[float, float]) -> None:
        values = values_of("alpha")
        shares = rates(values, WRONG, once(6), gamma)
        assert [float(share[0]) for share in shares] == list(expected)

    def test_curve(self) -> None:
        """The first wrong decision is rejected first; the second one after one of four right ones."""
        values = values_of("alpha")
        curve = auroc_and_curve(values, WRONG, once(6))[1][0]
        assert curve[[0, 25, 50, 51, 95, 100]].tolist() == [0, 0, 0, 0.25, 0.25, 0.25]


@pytest.mark.slow
def test_a_thousand_random_cases_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(1000):
            statistic, wrong = drawn(generator)
            auroc = auroc_and_curve(statistic, wrong, once(len(wrong)))[0]
            assert auroc == pytest.approx(roc_auc_score(wrong, statistic), abs=1e-12)


def test_curves_against_a_plain_walk() -> None:
    generator = np.random.default_rng(1)
    for _ in range(100):
        statistic, wrong = drawn(generator)
        curve = auroc_and_curve(statistic, wrong, once(len(wrong)))[1][0]
        np.testing.assert_allclose(curve, plain_curve(statistic, wrong), atol=1e-12)


def test_a_rate_that_is_reached_exactly_takes_no_more() -> None:
    """Nineteen of twenty wrong decisions, then all right ones, then the last wrong one."""
    statistic = np.array([3.0] * 19 + [2.0] * 5 + [1.0])
    wrong = np.array([1.0] * 19 + [0.0] * 5 + [1.0])
    assert auroc_and_curve(statistic, wrong, once(25))[1][0][[94, 95, 96, 100]].tolist() == [0, 0, 1, 1]


def test_resamples_against_cases_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    statistic, wrong = drawn(generator)
    counts = generator.integers(0, 4, (40, len(wrong)))
    counts[0] = 0
    counts[1] = wrong == 0
    monkeypatch.setattr("heatproof_doctor.rejection.BLOCK", 7 * len(wrong))
    auroc, curve = auroc_and_curve(statistic, wrong, counts)
    frr, trr = rates(statistic, wrong, counts, 0.6)
    assert np.isnan([auroc[0], auroc[1], *curve[0], *curve[1], frr[0], trr[0], trr[1]]).all()
    for row in range(2, 40):
        repeated = [np.repeat(values, counts[row]) for values in (statistic, wrong)]
        assert auroc[row] == pytest.approx(roc_auc_score(repeated[1], repeated[0]))
        np.testing.assert_allclose(curve[row], plain_curve(*repeated), atol=1e-12)
        assert frr[row] == pytest.approx(np.mean(repeated[0][repeated[1] == 0] > 0.6))
        assert trr[row] == pytest.approx(np.mean(repeated[0][repeated[1] == 1] > 0.6))


def test_perfect_and_inverted_statistics() -> None:
    wrong = np.array([1.0, 1, 0, 0, 0])
    for statistic, area, middle in ((wrong, 1, 0), (-wrong, 0, 1)):
        auroc, curve = auroc_and_curve(statistic, wrong, once(5))
        assert (auroc[0], curve[0, 50]) == (area, middle)


def test_a_constant_statistic_rejects_all_or_none() -> None:
    auroc, curve = auroc_and_curve(np.ones(5), np.array([1.0, 1, 0, 0, 0]), once(5))
    assert auroc[0] == 0.5
    np.testing.assert_allclose(curve[0], np.arange(101) / 100)


def test_without_cases() -> None:
    auroc, curve = auroc_and_curve(np.empty(0), np.empty(0), np.empty((3, 0), dtype=int))
    assert (auroc.shape, curve.shape) == ((3,), (3, 101))
    assert np.isnan(auroc).all()


@pytest.mark.slow
def test_ten_thousand_resamples_take_less_than_a_second() -> None:
    generator = np.random.default_rng(0)
    counts = generator.multinomial(413, np.full(413, 1 / 413), size=10_000)
    statistic = generator.random(413)
    wrong = (generator.random(413) < 0.3).astype(float)
    start = time.process_time()
    auroc_and_curve(statistic, wrong, counts)
    assert time.process_time() - start < 1
