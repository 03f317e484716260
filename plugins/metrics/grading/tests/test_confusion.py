"""Kappa, accuracy and rates against small examples, scikit-learn, and invariants."""

from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef, precision_recall_fscore_support

from heatproof_grading.confusion import Weights, accuracy, kappa, matthews, rates

Array = NDArray[Any]

TABLE = [[4, 2], [1, 3]]
"""TP 3, FN 1, FP 2, TN 4; the second class is positive."""


def matrix(labels: Any, decisions: Any, classes: int) -> Array:
    """Count a confusion matrix (1, classes, classes) case by case."""
    counted = np.zeros((1, classes, classes))
    for label, decision in zip(labels, decisions):
        counted[0, label, decision] += 1
    return counted


@pytest.mark.parametrize(
    ("labels", "decisions", "expected"),
    [
        ((0, 1, 2, 3, 4, 0, 1, 2), (0, 2, 2, 3, 3, 1, 1, 2), 1 - 3 / 21.5),
        ((0, 0, 0, 1, 2, 3, 4, 4), (0, 0, 1, 1, 2, 2, 4, 3), 0.91549296),
        ((0, 4), (4, 0), -1),
        ((0, 1, 2, 3), (2, 2, 2, 2), 0),
        ((0, 1, 2, 3), (0, 1, 2, 3), 1),
        ((2, 2), (2, 2), np.nan),
        ((), (), np.nan),
    ],
)
def test_kappa_vectors(labels: Any, decisions: Any, expected: float) -> None:
    """Kappa of a small table, computed by hand."""
    assert kappa(matrix(labels, decisions, 5)) == pytest.approx(expected, abs=5e-9, nan_ok=True)


def test_rates_vector() -> None:
    """The rates of a small table, computed by hand."""
    shares = {name: values[0, 1] for name, values in rates(np.array([TABLE])).items()}
    expected = {"sensitivity": 0.75, "specificity": 2 / 3, "precision": 0.6, "f1": 2 / 3}
    assert shares == pytest.approx(expected)
    assert accuracy(np.array([TABLE])) == pytest.approx(0.7)


def test_nothing_over_nothing_is_undefined() -> None:
    """Two cases of the first class are decided rightly, one as the second class; the third class never occurs."""
    shares = {name: values[0] for name, values in rates(np.array([[[2, 1, 0], [0, 0, 0], [0, 0, 0]]])).items()}
    np.testing.assert_array_equal(shares["sensitivity"], [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(shares["specificity"], [np.nan, 2 / 3, 1])
    np.testing.assert_array_equal(shares["precision"], [1, 0, np.nan])
    np.testing.assert_array_equal(shares["f1"], [0.8, 0, np.nan])


@pytest.mark.slow
def test_a_thousand_random_cases_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    kinds: tuple[tuple[Weights, str | None], ...] = (
        ("quadratic", "quadratic"),
        ("linear", "linear"),
        ("equal", None),
    )
    for turn in range(1000):
        classes = int(generator.integers(2, 6))
        labels, decisions = generator.integers(0, classes, (2, generator.integers(8, 60)))
        counted = matrix(labels, decisions, classes)
        names = list(range(classes))
        ours, theirs = kinds[turn % 3]
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            reference = cohen_kappa_score(labels, decisions, weights=theirs, labels=names)
            precision, recall, f1, _ = precision_recall_fscore_support(
                labels, decisions, labels=names, zero_division=np.nan
            )
        assert kappa(counted, ours) == pytest.approx(reference, abs=1e-12, nan_ok=True)
        assert accuracy(counted) == pytest.approx(np.mean(labels == decisions))
        shares = rates(counted)
        np.testing.assert_allclose(shares["precision"][0], precision, rtol=0, atol=1e-12)
        np.testing.assert_allclose(shares["sensitivity"][0], recall, rtol=0, atol=1e-12)
        np.testing.assert_allclose(shares["f1"][0], f1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_matthews_correlation_of_scikit_learn(classes: int) -> None:
    generator = np.random.default_rng(classes)
    for _ in range(20):
        labels, decisions = generator.integers(0, classes, (2, 30))
        counted = matrix(labels, decisions, classes)
        assert matthews(counted) == pytest.approx(matthews_corrcoef(labels, decisions), abs=1e-12)
        assert matthews(3 * counted) == pytest.approx(matthews(counted), abs=1e-12)
    assert matthews(matrix((0, 1, 1), (1, 0, 0), 2)) == pytest.approx(-1)
    for labels, decisions in (((0, 0), (0, 1)), ((0, 1), (1, 1)), ((), ())):
        assert np.isnan(matthews(matrix(labels, decisions, classes)))


def test_specificity_is_the_sensitivity_for_all_others() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        counted = generator.integers(1, 9, (1, 4, 4))
        for index in range(4):
            rest = np.delete(counted[0], index, axis=0)
            assert rates(counted)["specificity"][0, index] == pytest.approx(1 - rest[:, index].sum() / rest.sum())


@pytest.mark.parametrize("weights", ["quadratic", "linear", "equal"])
def test_kappa_invariants(weights: Weights) -> None:
    counted = np.random.default_rng(2).integers(0, 9, (30, 5, 5))
    values = kappa(counted, weights)
    np.testing.assert_allclose(kappa(counted.swapaxes(1, 2), weights), values, atol=1e-12)
    np.testing.assert_allclose(kappa(counted[:, ::-1, ::-1], weights), values, atol=1e-12)
    np.testing.assert_allclose(kappa(7 * counted, weights), values, atol=1e-12)
    assert (np.abs(values) <= 1).all()


def test_two_classes_have_one_kappa() -> None:
    counted = np.random.default_rng(3).integers(1, 9, (20, 2, 2))
    np.testing.assert_allclose(kappa(counted, "quadratic"), kappa(counted, "equal"), atol=1e-12)


def test_kappa_of_independent_decisions_is_zero() -> None:
    """Kappa is 0 for a table that is the product of its margins."""
    assert kappa(np.outer([3, 5, 2, 7], [1, 4, 4, 2])[None]) == pytest.approx(0, abs=1e-12)


def test_accuracy_lies_between_sensitivity_and_specificity() -> None:
    """``consistent`` relies on this law."""
    counted = np.random.default_rng(4).integers(0, 9, (500, 2, 2)) + np.eye(2, dtype=int)
    shares = rates(counted)
    bounds = np.sort([shares["sensitivity"][:, 1], shares["specificity"][:, 1]], axis=0)
    assert (bounds[0] - 1e-12 <= accuracy(counted)).all()
    assert (accuracy(counted) <= bounds[1] + 1e-12).all()
