"""Areas against small examples, scikit-learn, a count over all pairs, and invariants."""

import time
from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from heatproof_auc.ranks import auc

Array = NDArray[Any]

VECTORS = {
    "four cases": ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
    "ties": ([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.4, 0.4, 0.6, 0.9], 0.88888889),
    "eight cases": ([0, 1, 0, 1, 0, 1, 1, 0], [0.2, 0.3, 0.1, 0.9, 0.6, 0.7, 0.5, 0.4], 0.8125),
}


def drawn(seed: int, most: int = 60) -> tuple[Array, Array]:
    """Scores with many ties and labels of both kinds."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, most))
    positive = np.zeros(count)
    positive[: generator.integers(1, count)] = 1
    return generator.integers(0, 12, count) / 12 + 0.1 * positive * generator.integers(0, 2), generator.permutation(
        positive
    )


def point(scores: Array, positive: Array) -> float:
    return float(auc(np.asarray(scores, float), np.asarray(positive, float), np.ones((1, len(scores)), int))[0])


@pytest.mark.parametrize(("positive", "scores", "area"), VECTORS.values(), ids=VECTORS)
def test_vectors(positive: list[int], scores: list[float], area: float) -> None:
    assert point(np.array(scores), np.array(positive)) == pytest.approx(area, abs=5e-9)


@pytest.mark.slow
def test_a_thousand_random_cases_against_scikit_learn() -> None:
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for seed in range(1000):
            scores, positive = drawn(seed)
            assert point(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


def test_resamples_against_all_pairs() -> None:
    generator = np.random.default_rng(0)
    scores, positive = drawn(3)
    counts = generator.integers(0, 4, (50, len(scores)))
    wins = (np.sign(scores[positive == 1][:, None] - scores[positive == 0]) + 1) / 2
    for area, row in zip(auc(scores, positive, counts), counts):
        pairs = np.outer(row[positive == 1], row[positive == 0])
        assert area == pytest.approx((pairs * wins).sum() / pairs.sum(), abs=1e-12)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, positive = drawn(4)
    counts = np.random.default_rng(1).integers(0, 3, (33, len(scores)))
    whole = auc(scores, positive, counts)
    monkeypatch.setattr("heatproof_auc.ranks.BLOCK", 5 * len(scores))
    np.testing.assert_array_equal(auc(scores, positive, counts), whole)


@pytest.mark.parametrize("seed", range(20))
def test_invariants(seed: int) -> None:
    scores, positive = drawn(seed)
    assert point(-scores, positive) == pytest.approx(1 - point(scores, positive), abs=1e-12)
    assert point(scores, 1 - positive) == pytest.approx(1 - point(scores, positive), abs=1e-12)
    assert point(np.exp(3 * scores), positive) == point(scores, positive)
    assert point(np.full(len(scores), 0.3), positive) == 0.5
    assert (point(positive, positive), point(-positive, positive)) == (1, 0)


def test_without_one_kind_there_is_no_area() -> None:
    counts = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]])
    areas = auc(np.array([0.2, 0.7, 0.9]), np.array([0.0, 1.0, 1.0]), counts)
    np.testing.assert_array_equal(areas, [1, np.nan, 1, np.nan])


def test_undefined_cases_are_left_out() -> None:
    scores = np.array([np.nan, 0.2, 0.7, 0.5])
    positive = np.array([1.0, 0.0, 1.0, np.nan])
    assert auc(scores, positive, np.array([[5, 1, 1, 7]])).tolist() == [1]


def test_random_scores_reach_one_half() -> None:
    """The variance of the statistic without ties is (p + n + 1) / (12 p n)."""
    generator = np.random.default_rng(5)
    positive = np.repeat([1.0, 0.0], [30, 50])
    areas = [point(generator.random(80), positive) for _ in range(400)]
    error = np.sqrt(81 / (12 * 30 * 50))
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * error / 20)
    assert np.std(areas) == pytest.approx(error, rel=0.15)


@pytest.mark.slow
def test_ten_thousand_resamples_take_less_than_a_second() -> None:
    generator = np.random.default_rng(0)
    counts = generator.multinomial(413, np.full(413, 1 / 413), size=10_000)
    start = time.process_time()
    auc(generator.random(413), np.repeat([1.0, 0.0], [100, 313]), counts)
    assert time.process_time() - start < 1
