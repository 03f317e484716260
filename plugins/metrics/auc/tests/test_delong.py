"""DeLong's variance and intervals against small examples, all pairs, and the spread of the bootstrap."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof_auc.delong import delong
from heatproof_auc.ranks import auc

Array = NDArray[Any]

VECTORS = {
    "four cases": (
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]),
        (0.75, 0.35355339),
        (0.05704809, 1),
        (0.06932328, 0.99179161),
    ),
    "ties": (
        ([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.4, 0.4, 0.6, 0.9]),
        (0.88888889, 0.12422600),
        (0.64541041, 1),
        (0.40473405, 0.98948791),
    ),
    "eight cases": (
        ([0, 1, 0, 1, 0, 1, 1, 0], [0.2, 0.3, 0.1, 0.9, 0.6, 0.7, 0.5, 0.4]),
        (0.8125, 0.16925080),
        (0.8125 - 1.9599639845 * 0.16925080, 1),
        (0.32934634, 0.97451419),
    ),
}


def plain(scores: Array, positive: Array) -> tuple[float, float]:
    """The area and its variance from the table of all pairs."""
    table = (np.sign(scores[positive][:, None] - scores[~positive]) + 1) / 2
    area = table.mean()
    upper = sum((row.mean() - area) ** 2 for row in table) / (len(table) - 1)
    lower = sum((column.mean() - area) ** 2 for column in table.T) / (len(table.T) - 1)
    return area, upper / len(table) + lower / len(table.T)


@pytest.mark.parametrize(("case", "area", "wald", "logit"), VECTORS.values(), ids=VECTORS)
def test_vectors(case: Any, area: Any, wald: Any, logit: Any) -> None:
    result = delong(np.array(case[1]), np.array(case[0], dtype=bool))
    assert (result.auc, result.error) == pytest.approx(area, abs=6e-9)
    assert result.wald() == pytest.approx(wald, abs=6e-9)
    assert result.logit() == pytest.approx(logit, abs=6e-9)


def test_a_thousand_random_cases_against_all_pairs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        upper, lower = generator.integers(2, 12, 2)
        scores = generator.integers(0, 9, upper + lower) / 9
        positive = np.repeat([True, False], [upper, lower])
        result = delong(scores, positive)
        assert (result.auc, result.variance) == pytest.approx(plain(scores, positive), abs=1e-12)


def test_the_error_is_near_that_of_the_bootstrap() -> None:
    generator = np.random.default_rng(1)
    positive = np.repeat([True, False], [150, 250])
    scores = generator.normal(size=400) + positive
    resampled = auc(scores, positive.astype(float), generator.multinomial(400, np.full(400, 1 / 400), size=2000))
    assert delong(scores, positive).error == pytest.approx(resampled.std(), rel=0.08)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    result = delong(np.array([0.1, 0.4, 0.35, 0.8, 0.2]), np.array([False, False, True, True, True]))
    for interval in (result.wald, result.logit):
        (low, high) = interval(0.5)
        (lower, higher) = interval(0.9)
        assert 0 <= lower < low < result.auc < high < higher <= 1


def test_perfect_separation_has_an_interval_without_width() -> None:
    result = delong(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    for interval in (result.wald, result.logit):
        with pytest.warns(RuntimeWarning, match=r"area \(1\) is 0.*bootstrap"):
            assert interval() == (1, 1)
    with pytest.warns(RuntimeWarning, match=r"area \(0\) is 0"):
        assert delong(np.array([0.8, 0.9, 0.1, 0.2]), np.array([False, False, True, True])).logit() == (0, 0)


def test_one_positive_case_has_no_variance() -> None:
    result = delong(np.array([0.1, 0.2, 0.8]), np.array([False, False, True]))
    assert result.auc == 1
    assert np.isnan(result.variance)
    with pytest.warns(RuntimeWarning, match="nan"):
        assert np.isnan(result.wald()).all()


def test_without_one_kind_there_is_no_area() -> None:
    result = delong(np.array([0.1, 0.2]), np.array([True, True]))
    assert np.isnan([result.auc, result.variance]).all()
    with pytest.warns(RuntimeWarning, match="nan"):
        assert np.isnan(result.logit()).all()
