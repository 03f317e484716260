"""DeLong's variance and intervals against small examples, all pairs, and the spread of the bootstrap."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from heatproof_auc.auc import Auc
from heatproof_auc.delong import delong, paired
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


def ids(count: int) -> list[str]:
    return [str(number) for number in range(count)]


class TestPaired:
    def test_as_published_programs(self) -> None:
        """The value is that of ``Delong_test`` of MLstatkit 0.1.91, which follows ``roc.test`` of pROC."""
        first = np.array([0.2, 0.3, 0.1, 0.9, 0.6, 0.7, 0.5, 0.4, 0.8, 0.5, 0.3, 0.6])
        second = np.array([0.3, 0.2, 0.1, 0.6, 0.7, 0.4, 0.5, 0.6, 0.9, 0.2, 0.5, 0.5])
        positive = np.array([0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1]) == 1
        result = paired(first, second, positive, ids(12))
        assert (result.name, result.p) == ("DeLong", pytest.approx(0.08209084270542812, rel=1e-12))

    def test_covariances_of_all_pairs(self) -> None:
        """The variance of the difference from the table of all pairs of cases, as in the paper."""
        generator = np.random.default_rng(2)
        for _ in range(50):
            positive = np.arange(25) < generator.integers(3, 20)
            scores = generator.integers(0, 12, (2, 25)) / 3
            tables = [(np.sign(row[positive][:, None] - row[~positive]) + 1) / 2 for row in scores]
            parts = [np.cov([table.mean(axis) for table in tables]) / tables[0].shape[1 - axis] for axis in (1, 0)]
            variance = np.array([1, -1]) @ (parts[0] + parts[1]) @ np.array([1, -1])
            z = (tables[0].mean() - tables[1].mean()) / np.sqrt(variance)
            assert paired(*scores, positive, ids(25)).p == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)

    def test_patients_of_several_cases(self) -> None:
        """Obuchowski's sums by a plain loop; each case three times over counts as one patient, not as three."""
        generator = np.random.default_rng(3)
        scores = generator.normal(size=(2, 40))
        positive = generator.random(40) < 0.5
        patients = [f"patient {number}" for number in generator.integers(0, 15, 40)]
        result = paired(*scores, positive, patients)
        assert result.name == "Obuchowski"
        assert result.p == pytest.approx(clustered(*scores, positive, patients), rel=1e-9)
        tripled = paired(*np.repeat(scores, 3, axis=1), np.repeat(positive, 3), [id for id in ids(40) for _ in "abc"])
        assert tripled.p == pytest.approx(paired(*scores, positive, ids(40)).p, rel=1e-9)

    def test_two_equal_models_differ_by_chance_only(self) -> None:
        """Patients of three alike cases, two equally good models: p <= 0.1 happens in one trial of ten."""
        generator = np.random.default_rng(4)
        positives = 0
        for _ in range(200):
            positive = np.repeat(np.arange(40) % 2, 3) == 1
            scores = np.repeat(generator.normal(size=(2, 40)), 3, axis=1) + positive
            scores += 0.3 * generator.normal(size=scores.shape)
            positives += paired(*scores, positive, [id for id in ids(40) for _ in "abc"]).p <= 0.1
        assert 8 <= positives <= 35

    def test_what_cannot_be_tested(self) -> None:
        scores = np.array([0.1, 0.2, 0.8, 0.9])
        positive = np.array([False, False, True, True])
        assert paired(scores, np.exp(scores), positive, ids(4)).p == 1
        assert np.isnan(paired(scores, -scores, positive, ids(4)).p)
        assert np.isnan(paired(scores, scores[::-1], np.array([False, True, True, True]), ids(4)).p)
        assert np.isnan(paired(scores, scores[::-1], positive, ["a", "b", "c", "c"]).p)
        assert np.isnan(paired(scores, scores, np.zeros(4, bool), ids(4)).p)

    def test_only_where_auc_is_a_single_area(self) -> None:
        generator = np.random.default_rng(5)
        positive = (np.arange(20) % 2).astype(float)
        sides = [np.column_stack([generator.normal(size=20), positive]) for _ in range(2)]
        expected = paired(*(side[:, 0] for side in sides), positive == 1, ids(20))
        single = [{"auc": side} for side in sides]
        assert Auc(positive=("a",)).closed_form(*single, ids(20)) == expected
        assert Auc(positive=("a",), max_fpr=0.2).closed_form(*single, ids(20)) is None
        mirrored = [{"a": side, "b": np.column_stack([-side[:, 0], 1 - side[:, 1]])} for side in sides]
        result = Auc().closed_form(*mirrored, ids(20))
        assert result is not None
        assert result.p == pytest.approx(expected.p)
        assert Auc(average="micro").closed_form(*mirrored, ids(20)) is None
        findings = [{"a": side, "b": side[::-1]} for side in sides]
        assert Auc().closed_form(*findings, ids(20)) is None
        assert Auc().closed_form(*({**side, "c": side["a"]} for side in mirrored), ids(20)) is None


def clustered(first: Array, second: Array, positive: Array, patients: list[str]) -> float:
    """Obuchowski's p by loops over patients and pairs of cases."""
    shares = [(np.sign(row[positive][:, None] - row[~positive]) + 1) / 2 for row in (first, second)]
    gap = shares[0] - shares[1]
    theta = gap.mean()
    upper, lower = ([patient for patient, is_positive in zip(patients, positive) if is_positive == kind]
                    for kind in (True, False))  # fmt: skip
    s10 = s01 = s11 = 0.0
    for patient in set(patients):
        x = sum(row.mean() - theta for row, owner in zip(gap, upper) if owner == patient)
        y = sum(column.mean() - theta for column, owner in zip(gap.T, lower) if owner == patient)
        s10 += x**2
        s01 += y**2
        s11 += x * y
    count = len(set(patients))
    s10 *= len(set(upper)) / (len(set(upper)) - 1) / len(upper)
    s01 *= len(set(lower)) / (len(set(lower)) - 1) / len(lower)
    s11 *= count / (count - 1)
    variance = s10 / len(upper) + s01 / len(lower) + 2 * s11 / (len(upper) * len(lower))
    return float(2 * norm.sf(abs(theta) / np.sqrt(variance)))
