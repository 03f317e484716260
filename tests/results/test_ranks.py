"""Friedman's test, Nemenyi's critical difference and the stability of ranks, against scipy and plain loops."""

import itertools

import numpy as np
import pytest
from scipy import stats

from heatproof.results.ranks import average_ranks, friedman, patient_means, stability, win_share


@pytest.mark.parametrize("digits", [1, 8])
def test_ranks_agree_with_scipy(digits: int) -> None:
    values = np.round(np.random.default_rng(0).random((40, 7)), digits)
    assert np.array_equal(average_ranks(values), stats.rankdata(-values, axis=1))


def test_rounding_does_not_decide_ranks() -> None:
    assert average_ranks(np.array([[0.1 + 0.2, 0.3, 0.2]])).tolist() == [[1.5, 1.5, 3.0]]


def test_cases_of_a_patient_are_averaged() -> None:
    values = np.array([1.0, 2.0, np.nan, 5.0, np.nan])
    means = patient_means(values, ["b", "a", "b", "b", "c"])
    assert means == pytest.approx([2.0, 3.0, np.nan], nan_ok=True)


@pytest.mark.parametrize(("blocks", "count", "digits"), [(8, 3, 8), (12, 5, 1), (81, 31, 2), (30, 4, 0)])
def test_friedman_agrees_with_scipy(blocks: int, count: int, digits: int) -> None:
    """Also with ties."""
    generator = np.random.default_rng(blocks)
    values = np.round(generator.random((blocks, count)) + 0.1 * np.arange(count) / count, digits)
    result = friedman(values, 0.95)
    expected = stats.friedmanchisquare(*values.T)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-10)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-8)
    assert result.mean_ranks == pytest.approx(stats.rankdata(-values, axis=1).mean(0))
    assert result.blocks == blocks


def test_a_clear_order_is_found() -> None:
    """Every patient agrees: the statistic is at its largest, n (k - 1)."""
    values = np.random.default_rng(0).normal(size=(20, 1)) + np.arange(6)
    result = friedman(values, 0.95)
    assert result.mean_ranks.tolist() == [6, 5, 4, 3, 2, 1]
    assert result.statistic == pytest.approx(20 * 5)
    assert result.p == pytest.approx(stats.chi2.sf(100, 5), rel=1e-8)


def test_patients_who_lack_a_value_are_left_out() -> None:
    values = np.random.default_rng(1).random((9, 4))
    gaps = np.vstack([values, [[0.1, np.nan, 0.2, 0.3]]])
    assert str(friedman(gaps, 0.9)) == str(friedman(values, 0.9))


def test_without_patients_or_order_there_is_no_test() -> None:
    nobody = friedman(np.full((3, 4), np.nan), 0.95)
    assert nobody.blocks == 0
    assert np.isnan([nobody.statistic, nobody.p, nobody.critical_difference, *nobody.mean_ranks]).all()
    tied = friedman(np.ones((5, 3)), 0.95)
    assert np.isnan([tied.statistic, tied.p]).all()
    assert tied.mean_ranks.tolist() == [2, 2, 2]


@pytest.mark.parametrize("count", [2, 3, 10, 31])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_studentized_range_solves_its_integral(count: int, confidence: float) -> None:
    """The range of normals is at most q with probability count ∫ φ(z) (Φ(z) - Φ(z - q))^(count - 1) dz."""
    largest = np.linspace(-10, 10, 401)
    inside = (stats.norm.cdf(largest) - stats.norm.cdf(largest - studentized_range(confidence, count))) ** (count - 1)
    share = count * (stats.norm.pdf(largest) * inside).sum() * (largest[1] - largest[0])
    assert share == pytest.approx(confidence, abs=1e-9)


def studentized_range(confidence: float, count: int) -> float:
    """The quantile within the critical difference of so many combinations over three patients."""
    values = np.random.default_rng(0).random((3, count))
    return friedman(values, confidence).critical_difference / np.sqrt(count * (count + 1) / (12 * 3))


def test_studentized_range_of_two_in_closed_form() -> None:
    """The range of two is the absolute value of a normal of variance two."""
    for confidence in (0.5, 0.9, 0.999):
        expected = np.sqrt(2) * stats.norm.ppf((1 + confidence) / 2)
        assert studentized_range(confidence, 2) == pytest.approx(expected, rel=1e-9)


def test_p_of_three_in_closed_form() -> None:
    """A chi-square with two degrees of freedom exceeds x with probability exp(-x / 2)."""
    result = friedman(np.random.default_rng(2).random((9, 3)), 0.95)
    assert result.p == pytest.approx(np.exp(-result.statistic / 2), rel=1e-12)


def test_critical_difference_as_published() -> None:
    """Demšar's example: 4 classifiers on 14 data sets, q 2.569 at 0.05 and 2.291 at 0.10."""
    values = np.random.default_rng(0).random((14, 4))
    assert friedman(values, 0.95).critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=5e-4)
    assert friedman(values, 0.90).critical_difference == pytest.approx(2.291 * np.sqrt(4 * 5 / (6 * 14)), abs=5e-4)


def test_nemenyi_of_scikit_posthocs() -> None:
    """The example of ``posthoc_nemenyi_friedman``; the values are those of scikit-posthocs 0.17.1."""
    values = np.array([[31, 27, 24], [31, 28, 31], [45, 29, 46], [21, 18, 48], [42, 36, 46], [32, 17, 40]])
    expected = [0.14553486869064602, 0.8322292181161419, 0.03760991481961706]
    p_values = friedman(values, 0.95).p_nemenyi
    assert p_values[np.triu_indices(3, 1)] == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(p_values, p_values.T)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_nemenyi_at_the_critical_difference(confidence: float) -> None:
    values = np.random.default_rng(4).random((20, 7))
    values[:, 0] += 0.5
    result = friedman(values, confidence)
    gaps = np.abs(result.mean_ranks[:, None] - result.mean_ranks)
    assert np.array_equal(result.p_nemenyi < 1 - confidence, gaps > result.critical_difference)
    assert 0 < (gaps > result.critical_difference).sum() < 42


def test_stability_against_a_plain_loop() -> None:
    generator = np.random.default_rng(2)
    values = np.array([0.5, 0.7, 0.6])
    resampled = np.round(values + 0.1 * generator.normal(size=(300, 3)), 2)
    resampled[::7, 1] = np.nan
    result = stability(values, list(resampled.T))
    best = np.zeros(3)
    unchanged = np.zeros(3)
    used = 0
    for row in resampled:
        if np.isnan(row).any():
            continue
        used += 1
        leaders = np.flatnonzero(row == row.max())
        best[leaders] += 1 / len(leaders)
        unchanged += stats.rankdata(-row) == [3, 1, 2]
    assert result.ranks.tolist() == [3, 1, 2]
    assert result.resamples == used
    assert result.best_share == pytest.approx(best / used)
    assert result.rank_share == pytest.approx(unchanged / used)
    assert result.best_share.sum() == pytest.approx(1)


def test_stability_of_two_normals_in_closed_form() -> None:
    generator = np.random.default_rng(3)
    a, b = (centre + generator.normal(size=40_000) for centre in (0.8, 0.0))
    expected = stats.norm.cdf(0.8 / np.sqrt(2))
    result = stability(np.array([0.8, 0.0]), [a, b])
    assert result.best_share[0] == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 40_000))
    assert win_share(a, b) == pytest.approx(result.best_share[0], abs=1e-12)


def test_shorter_resamples_shorten_all() -> None:
    result = stability(np.array([2.0, 1.0]), [np.array([2.0, 2.0, 0.0]), np.array([1.0, 1.0])])
    assert (result.resamples, result.best_share.tolist()) == (2, [1.0, 0.0])
    assert win_share(np.array([2.0, 2.0, 0.0]), np.array([1.0, 3.0])) == 0.5


def test_nothing_in_common() -> None:
    result = stability(np.array([2.0, 1.0]), [np.array([np.nan, 1.0]), np.array([1.0, np.nan])])
    assert result.resamples == 0
    assert np.isnan([*result.best_share, *result.rank_share]).all()
    assert np.isnan(win_share(np.array([np.nan]), np.array([1.0])))


def test_wins_count_ties_half() -> None:
    a, b = (np.array(values) for values in zip(*itertools.product([0.0, 1.0, 2.0], repeat=2)))
    assert win_share(a, b) == 0.5
    assert win_share(a, b - 0.5) == pytest.approx(6 / 9)
