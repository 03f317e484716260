"""Candidate lists: small examples, the rules of CAMELYON16, and plain counting."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof_froc.candidates import candidate_curve, matched
from heatproof_froc.curve import sensitivity_at

FIRST = (np.array([0.9, 0.8, 0.7, 0.35, np.nan]), np.array([0.95, 0.6, 0.5, 0.4, 0.3, 0.2]), 4)
SECOND = (np.array([0.9, 0.4]), np.array([0.5]), 1)


class TestVectors:
    def test_v_froc_1(self) -> None:
        curve = candidate_curve(*FIRST)
        assert curve.false_positives.tolist() == [1.5, 1.25, 1, 1, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25, 0]
        assert curve.sensitivity.tolist() == [0.8, 0.8, 0.8, 0.6, 0.6, 0.6, 0.6, 0.4, 0.2, 0, 0]
        read = sensitivity_at(curve.false_positives, curve.sensitivity)
        assert read.tolist() == [0, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8]
        assert read.mean() == pytest.approx(0.62857143, abs=1e-8)
        assert read[1:].mean() == pytest.approx(0.73333333, abs=1e-8)

    def test_v_froc_2(self) -> None:
        curve = candidate_curve(*SECOND)
        assert curve.sensitivity.tolist() == [1, 0.5, 0.5, 0]
        assert curve.false_positives.tolist() == [1, 1, 0, 0]

    def test_camelyon_drops_the_lowest_score_where_all_are_found(self) -> None:
        assert candidate_curve(*SECOND, drop_lowest=True).sensitivity.tolist() == [0.5, 0.5, 0]
        full = candidate_curve(*FIRST, drop_lowest=True)
        assert full.sensitivity.tolist() == candidate_curve(*FIRST).sensitivity.tolist()


class TestMatched:
    LESIONS = np.array([[1, 1, 0], [0, -1, 2], [0, 0, 2]])

    def test_best_score_of_each_lesion_and_the_rest(self) -> None:
        points = np.array([[0, 0], [0, 1], [0, 2], [1, 1], [2, 0]])
        best, false = matched(points, np.array([0.2, 0.7, 0.4, 0.9, 0.1]), self.LESIONS)
        assert best[0] == 0.7
        assert np.isnan(best[1])
        assert false.tolist() == [0.4, 0.1]

    def test_ignored_lesions_and_missing_numbers_are_no_targets(self) -> None:
        """Lesion 2 is ignored, and no lesion has the number 4; only 1, 3 and 7 can be missed."""
        lesions = np.array([1, -2, 3, 0, 7])
        best, false = matched(np.array([[1], [2], [3]]), np.array([0.9, 0.4, 0.2]), lesions)
        assert np.array_equal(best, [np.nan, 0.4, np.nan], equal_nan=True)
        assert false.tolist() == [0.2]
        assert candidate_curve(best, false, images=1).sensitivity.max() == pytest.approx(1 / 3)

    def test_no_candidates_and_no_lesions(self) -> None:
        best, false = matched(np.empty((0, 2), dtype=int), np.empty(0), self.LESIONS)
        assert np.isnan(best).tolist() == [True, True]
        assert false.size == 0
        best, false = matched(np.array([[0, 0]]), np.array([0.3]), np.zeros((3, 3), dtype=int))
        assert best.size == 0
        assert false.tolist() == [0.3]

    def test_scores_must_be_finite(self) -> None:
        with pytest.raises(DataError, match="not finite"):
            matched(np.array([[0, 0]]), np.array([np.nan]), self.LESIONS)


def test_against_counting_at_every_threshold() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        best = generator.integers(0, 8, 6).astype(float)
        best[generator.random(6) < 0.3] = np.nan
        false = generator.integers(0, 8, generator.integers(0, 9)).astype(float)
        curve = candidate_curve(best, false, 3)
        assert set(curve.thresholds[:-1]) == {*best[~np.isnan(best)], *false}
        for threshold, x, y in zip(curve.thresholds, curve.false_positives, curve.sensitivity):
            assert x == sum(score >= threshold for score in false) / 3
            assert y == sum(score >= threshold for score in best) / 6


@pytest.mark.parametrize(("best", "images"), [([], 3), ([0.5], 0)])
def test_nothing_to_draw(best: list[float], images: int) -> None:
    with pytest.raises(DataError, match="needs images and lesions"):
        candidate_curve(np.array(best), np.array([0.1]), images)
