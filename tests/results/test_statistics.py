"""Intervals, paired tests and corrections against scipy, closed forms and plain loops."""

import itertools
import time
import tracemalloc
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from heatproof.metric import mean
from heatproof.results import resampling
from heatproof.results.intervals import bca_interval, percentile_interval, summarise_cases
from heatproof.results.resampling import piece_sizes, resample_counts, sampling, swap_counts
from heatproof.results.significance import benjamini_hochberg, benjamini_yekutieli, holm, paired_test
from heatproof.seeding import generator

Floats = NDArray[np.float64]

PATIENTS = ["p3", "p1", "p1", "p2", "p3", "p3", "p4"]


def means(measurements: Mapping[str, Floats], counts: Floats) -> dict[str, Floats]:
    return {name: mean(values, counts) for name, values in measurements.items()}


def ratio(measurements: Mapping[str, Floats], counts: Floats) -> dict[str, Floats]:
    return {"ratio": (counts @ measurements["hits"]) / (counts @ measurements["total"])}


def singletons(count: int) -> list[str]:
    return [f"patient {number}" for number in range(count)]


class TestResampling:
    def test_whole_patients_as_many_as_there_are(self) -> None:
        counts = resample_counts(PATIENTS, 500, seed=3)
        assert counts.shape == (500, 7)
        for name in set(PATIENTS):
            columns = counts[:, [position for position, patient in enumerate(PATIENTS) if patient == name]]
            assert (columns == columns[:, :1]).all()
        firsts = [PATIENTS.index(name) for name in set(PATIENTS)]
        assert (counts[:, firsts].sum(1) == 4).all()

    def test_seed_decides(self) -> None:
        again = resample_counts(PATIENTS, 50, seed=1).copy()
        assert not np.array_equal(resample_counts(PATIENTS, 50, seed=2), again)
        assert np.array_equal(resample_counts(PATIENTS, 50, seed=1), again)

    def test_order_of_cases_is_only_labelling(self) -> None:
        order = np.random.default_rng(0).permutation(len(PATIENTS))
        moved = resample_counts([PATIENTS[position] for position in order], 40, seed=5)
        assert np.array_equal(moved, resample_counts(PATIENTS, 40, seed=5)[:, order])

    def test_every_patient_is_equally_likely(self) -> None:
        counts = resample_counts(singletons(8), 4000, seed=0)
        assert stats.chisquare(counts.sum(0)).pvalue > 0.001

    def test_shared_counts_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            next(iter(sampling(tuple(PATIENTS), 5, 0, "percentile")))[0, 0] = 9

    def test_no_cases(self) -> None:
        assert resample_counts([], 5, seed=0).shape == (5, 0)


def parity_counts(ids: list[str], seed: int) -> Floats:
    """The draws of Watanabe et al. 2022, which are one piece."""
    (counts,) = sampling(tuple(ids), 1, seed, "parity")
    assert (counts[0] == 1).all()
    return counts[1:]


def plain_counts(patients: list[str], seed: int, resamples: int, interval: str) -> Floats:
    """Every case once, the resamples from one undivided draw, and the jackknife, with loops over patients."""
    names = sorted(set(patients))
    draws = generator(seed, "bootstrap").integers(0, len(names), size=(resamples, len(names)))
    rows = [[1] * len(patients)]
    rows += [[int((row == names.index(patient)).sum()) for patient in patients] for row in draws]
    if interval == "bca":
        rows += [[int(patient != name) for patient in patients] for name in names]
    return np.array(rows)


def plain_swaps(patients: list[str], seed: int, permutations: int) -> tuple[Floats, Floats]:
    """The counts of [a; b] for nobody swapped, then for one undivided draw, with loops over patients."""
    names = sorted(set(patients))
    draws = generator(seed, "permutation").integers(0, 2, size=(permutations, len(names)), dtype=np.uint8)
    swapped = [[0] * len(patients)] + [[row[names.index(patient)] for patient in patients] for row in draws]
    stays = [[1 - int(moved) for moved in row] for row in swapped]
    goes = [[int(moved) for moved in row] for row in swapped]
    return np.hstack([stays, goes]), np.hstack([goes, stays])


class TestPieces:
    """Small pieces and blocks have the numbers of one undivided draw."""

    @pytest.fixture(params=[(2**12, 2**20), (2**12, 40), (2**20, 2**6)], autouse=True)
    def small(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name, value in zip(("PIECE", "BLOCK"), request.param):
            monkeypatch.setattr(resampling, name, value)
        resampling._only_piece.cache_clear()
        yield
        resampling._only_piece.cache_clear()

    @pytest.mark.parametrize("interval", ["percentile", "bca"])
    def test_intervals(self, interval: str) -> None:
        patients = [*PATIENTS, *singletons(30)]
        pieces = list(sampling(tuple(patients), 300, 4, interval))
        assert max(map(len, pieces)) < 128 or resampling.PIECE > 2**12
        assert np.array_equal(np.concatenate(pieces), plain_counts(patients, 4, 300, interval))

    def test_swaps(self) -> None:
        patients = [*PATIENTS, *singletons(27)]
        pieces = list(swap_counts(patients, 333, 4)[0])
        assert (len(pieces) > 1) == (resampling.PIECE == 2**12)
        for sides, expected in zip(zip(*pieces), plain_swaps(patients, 4, 333), strict=True):
            assert np.array_equal(np.concatenate(sides), expected)

    def test_all_swaps(self) -> None:
        pieces = list(swap_counts(singletons(9), 512, 0)[0])
        assert (len(pieces) > 1) == (resampling.PIECE == 2**12)
        patterns = [tuple(row) for first, _ in pieces for row in first[:, :9]]
        assert patterns[0] == (1,) * 9
        assert sorted(patterns) == sorted(itertools.product([0, 1], repeat=9))

    def test_parity_is_never_divided(self) -> None:
        assert parity_counts(singletons(200), 4).shape == (300, 200)

    def test_sizes(self) -> None:
        for rows, columns in itertools.product([1, 63, 64, 129, 1000, 4097], [0, 1, 3, 64, 1000, 10**6]):
            sizes = piece_sizes(rows, columns)
            assert sum(sizes) == rows
            assert not any(size % 64 for size in sizes[:-1])
            assert len(sizes) == 1 or min(sizes) >= 64
            assert max(sizes) * columns <= max(resampling.PIECE, 128 * columns)


@pytest.mark.parametrize(("cases", "interval"), [(3000, "percentile"), (2001, "bca"), (2001, "swaps")])
@pytest.mark.parametrize("measures", [1, 2, 5])
def test_pieces_do_not_change_the_last_bit(
    cases: int, interval: str, measures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean over cases has the bits of one product of all rows, on one thread."""
    patients = tuple(f"{case // 2:04}" for case in range(cases))
    values = np.random.default_rng(0).normal(size=(2 * cases, measures))
    values[::7] = np.nan

    def summarised() -> list[Floats]:
        resampling._only_piece.cache_clear()
        if interval == "swaps":
            pieces = list(swap_counts(patients, 1003, 0)[0])
            return [np.concatenate([mean(values, counts) for counts in side]) for side in zip(*pieces)]
        return [np.concatenate([mean(values[:cases], counts) for counts in sampling(patients, 1003, 0, interval)])]

    with threadpool_limits(1, user_api="blas"):
        whole = summarised()
        monkeypatch.setattr(resampling, "PIECE", 2**21)
        pieces = summarised()
    resampling._only_piece.cache_clear()
    assert [part.tobytes() for part in pieces] == [part.tobytes() for part in whole]


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_memory_does_not_grow_with_resamples_or_patients(interval: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All counts would take 44 MB, the jackknife of ``bca`` another 9 MB."""
    monkeypatch.setattr(resampling, "PIECE", 2**18)
    monkeypatch.setattr(resampling, "BLOCK", 2**16)
    groups = [f"{case // 2}" for case in range(3000)]
    measurements = {"v": np.random.default_rng(0).random(3000)}
    tracemalloc.start()
    try:
        summarise_cases(means, measurements, groups, 3700, 0.95, 0, interval)
        paired_test(means, measurements, {"v": 1 - measurements["v"]}, groups, "v", 3700, 0)
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()


class TestBootstrap:
    def test_counts_equal_concatenated_cases(self) -> None:
        values = np.random.default_rng(1).normal(size=len(PATIENTS))
        counts = resample_counts(PATIENTS, 200, seed=7)
        for row, value in zip(counts, mean(values, counts)):
            cases: list[float] = []
            for patient in sorted(set(PATIENTS)):
                members = [position for position, name in enumerate(PATIENTS) if name == patient]
                for _ in range(row[members[0]]):
                    cases += [values[position] for position in members]
            assert value == pytest.approx(sum(cases) / len(cases), abs=1e-12)

    def test_variance_of_the_mean_of_singletons(self) -> None:
        values = np.random.default_rng(2).gamma(2, size=30)
        resampled = mean(values, resample_counts(singletons(30), 20_000, seed=0))
        assert resampled.var() == pytest.approx(values.var() / 30, rel=0.05)
        assert resampled.mean() == pytest.approx(values.mean(), abs=5 * values.std() / np.sqrt(30 * 20_000))

    def test_variance_of_equally_large_patients(self) -> None:
        values = np.random.default_rng(3).normal(size=(12, 4)) + np.arange(12)[:, None]
        groups = [f"{patient}" for patient in range(12) for _ in range(4)]
        resampled = mean(values.ravel(), resample_counts(groups, 20_000, seed=0))
        assert resampled.var() == pytest.approx(values.mean(1).var() / 12, rel=0.05)

    def test_interval_agrees_with_scipy(self) -> None:
        values = np.random.default_rng(4).exponential(size=40)
        ours = summarise_cases(means, {"value": values}, singletons(40), 20_000, 0.9, seed=0)["value"]
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=0
        ).confidence_interval
        error = 6 * values.std() / np.sqrt(40) / np.sqrt(20_000) * 2
        assert ours.value == pytest.approx(values.mean())
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=error)

    def test_plain_clustered_bootstrap_agrees(self) -> None:
        generator = np.random.default_rng(5)
        sizes = generator.integers(1, 6, size=15)
        clusters = [generator.normal(loc=generator.normal(), size=size) for size in sizes]
        plain = [
            np.concatenate([clusters[drawn] for drawn in generator.integers(0, 15, size=15)]).mean()
            for _ in range(4000)
        ]
        groups = [f"{patient}" for patient, size in enumerate(sizes) for _ in range(size)]
        ours = mean(np.concatenate(clusters), resample_counts(groups, 4000, seed=0))
        assert stats.ks_2samp(plain, ours).pvalue > 0.001
        unclustered = mean(np.concatenate(clusters), resample_counts(singletons(len(groups)), 4000, seed=0))
        assert stats.ks_2samp(plain, unclustered).pvalue < 1e-6

    def test_coverage_on_patients_of_several_cases(self) -> None:
        """Patients of five near-equal cases: clustered intervals cover the truth, those over cases do not."""
        groups = [f"{patient}" for patient in range(40) for _ in range(5)]
        generator = np.random.default_rng(6)
        clustered = unclustered = 0
        for trial in range(200):
            values = np.repeat(generator.normal(size=40), 5) + 0.1 * generator.normal(size=200)
            result = summarise_cases(means, {"v": values}, groups, 400, 0.95, seed=trial)["v"]
            naive = summarise_cases(means, {"v": values}, singletons(200), 400, 0.95, seed=trial)["v"]
            clustered += result.low <= 0 <= result.high
            unclustered += naive.low <= 0 <= naive.high
        low, high = stats.binom.ppf([0.001, 0.999], 200, 0.935)
        assert low <= clustered <= high
        assert unclustered < 0.75 * 200


class TestPercentiles:
    def test_published_vector(self) -> None:
        values = np.arange(1, 31) / 100
        result = percentile_interval(values, 0.95)
        assert (result.low, result.high, result.undefined) == (pytest.approx(0.01725), pytest.approx(0.29275), 0)

    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
    def test_plain_interpolation(self, confidence: float) -> None:
        values = np.random.default_rng(0).normal(size=57)
        ordered = sorted(values)
        plain = []
        for share in ((1 - confidence) / 2, (1 + confidence) / 2):
            position = share * (len(ordered) - 1)
            below = int(position)
            plain.append(ordered[below] + (position - below) * (ordered[below + 1] - ordered[below]))
        result = percentile_interval(values, confidence)
        assert (result.low, result.high) == pytest.approx(tuple(plain))

    def test_undefined_resamples_are_counted(self) -> None:
        with_gaps = percentile_interval(np.array([np.nan, 3.0, 1.0, np.nan, 2.0]), 0.8)
        assert with_gaps.undefined == 2
        assert (with_gaps.low, with_gaps.high) == pytest.approx((1.2, 2.8))

    def test_nothing_defined(self) -> None:
        result = percentile_interval(np.full(3, np.nan), 0.95)
        assert np.isnan([result.low, result.high]).all()
        assert result.undefined == 3


class TestSummary:
    def test_missing_measures(self) -> None:
        measurements = {"all": np.array([1.0, 2.0, 3.0]), "rare": np.array([np.nan, 5.0, np.nan])}
        result = summarise_cases(means, measurements, ["a", "b", "c"], 900, 0.95, seed=0)
        assert (result["all"].n, result["all"].undefined, result["all"].value) == (3, 0, 2.0)
        assert (result["rare"].n, result["rare"].value, result["rare"].reason) == (1, 5.0, "there is only one patient")
        assert result["rare"].resamples == 900
        low, high = stats.binom.ppf([0.0005, 0.9995], 900, (2 / 3) ** 3)
        assert low <= result["rare"].undefined <= high

    def test_ratio_of_sums_with_a_curve_beside_it(self) -> None:
        measurements = {"hits": np.array([1.0, 2.0, np.nan]), "total": np.array([2.0, 2.0, 4.0])}

        def summarise(measured: Mapping[str, Floats], counts: Floats) -> dict[str, Floats]:
            filled = {"hits": np.nan_to_num(measured["hits"]), "total": measured["total"]}
            return ratio(filled, counts) | {"curve": np.zeros((len(counts), 5))}

        result = summarise_cases(summarise, measurements, ["a", "b", "c"], 10, 0.95, seed=0)
        assert list(result) == ["ratio"]
        assert (result["ratio"].n, result["ratio"].value) == (2, 3 / 8)

    def test_order_of_cases_does_not_matter(self) -> None:
        values = np.random.default_rng(0).normal(size=len(PATIENTS))
        order = np.array([6, 2, 0, 1, 5, 4, 3])
        result = summarise_cases(means, {"v": values}, PATIENTS, 300, 0.95, seed=1)["v"]
        moved = [PATIENTS[position] for position in order]
        other = summarise_cases(means, {"v": values[order]}, moved, 300, 0.95, seed=1)["v"]
        assert (result.value, result.low, result.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)

    @pytest.mark.parametrize(("interval", "rows"), [("percentile", 51), ("bca", 55), ("parity", 301)])
    def test_all_rows_are_summarised_in_one_call(self, interval: str, rows: int) -> None:
        calls = []

        def counting(measurements: Mapping[str, Floats], counts: Floats) -> dict[str, Floats]:
            calls.append(counts.shape)
            return means(measurements, counts)

        summarise_cases(counting, {"v": np.arange(7.0)}, PATIENTS, 50, 0.9, 0, interval)
        assert calls == [(rows, 7)]

    @pytest.mark.slow
    @pytest.mark.parametrize("interval", ["percentile", "bca"])
    def test_ten_thousand_resamples_of_31_combinations(self, interval: str) -> None:
        values = np.random.default_rng(0).random((31, 5, 81))
        start = time.perf_counter()
        for combination in values:
            measurements = {f"measure {number}": row for number, row in enumerate(combination)}
            summarise_cases(means, measurements, singletons(81), 10_000, 0.95, 0, interval)
        assert time.perf_counter() - start < 10


def scipy_bca(patients: Floats, sizes: Floats, resampled: Floats, confidence: float) -> tuple[float, float]:
    """scipy's BCa interval of a mean over cases from each patient's sum and number, on given resamples."""

    def clustered(sums: Floats, counts: Floats, axis: int) -> Floats:
        ratio: Floats = sums.sum(axis) / counts.sum(axis)
        return ratio

    known = stats.bootstrap((patients, sizes), clustered, n_resamples=9, paired=True, rng=0)
    known.bootstrap_distribution = resampled
    result = stats.bootstrap(
        (patients, sizes), clustered, n_resamples=0, paired=True, confidence_level=confidence, bootstrap_result=known
    ).confidence_interval
    return float(result.low), float(result.high)


class TestAcceleratedIntervals:
    @pytest.mark.parametrize("confidence", [0.8, 0.95])
    def test_cases_agree_with_scipy_on_the_same_resamples(self, confidence: float) -> None:
        values = np.random.default_rng(0).gamma(0.7, size=25)
        result = summarise_cases(means, {"v": values}, singletons(25), 1500, confidence, 1, "bca")["v"]
        expected = scipy_bca(np.sort(values), np.ones(25), result.resampled, confidence)
        assert (result.low, result.high) == pytest.approx(expected, rel=1e-8)
        assert result.value == pytest.approx(values.mean())
        assert (result.undefined, result.reason) == (0, "")
        assert result.high - result.value > 1.1 * (result.value - result.low), (
            "the interval is skewed as the values are"
        )

    def test_patients_agree_with_scipy_on_the_same_resamples(self) -> None:
        generator = np.random.default_rng(1)
        sizes = generator.integers(1, 5, size=18)
        groups = [f"{patient:02}" for patient, size in enumerate(sizes) for _ in range(size)]
        values = generator.exponential(size=len(groups)) + np.repeat(generator.exponential(size=18), sizes)
        result = summarise_cases(means, {"v": values}, groups, 1500, 0.9, 2, "bca")["v"]
        sums = np.array([part.sum() for part in np.split(values, np.cumsum(sizes)[:-1])])
        expected = scipy_bca(sums, sizes.astype(float), result.resampled, 0.9)
        assert (result.low, result.high) == pytest.approx(expected, rel=1e-8)

    def test_symmetric_values_give_percentiles(self) -> None:
        """Neither bias nor skewness: the mean of values that are symmetric about zero, and symmetric resamples."""
        values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
        half = np.random.default_rng(2).normal(size=500)
        resampled = np.concatenate([half, -half])
        jackknife = -values / 4
        result = bca_interval(0.0, resampled, jackknife, 0.9)
        plain = percentile_interval(resampled, 0.9)
        assert (result.low, result.high) == pytest.approx((plain.low, plain.high))

    def test_undefined_resamples_are_counted(self) -> None:
        resampled = np.random.default_rng(3).normal(size=200)
        jackknife = np.random.default_rng(4).normal(size=20)
        gaps = np.concatenate([np.full(7, np.nan), resampled])
        plain, with_gaps = (bca_interval(0.1, values, jackknife) for values in (resampled, gaps))
        assert (with_gaps.low, with_gaps.high, with_gaps.undefined) == (plain.low, plain.high, 7)

    @pytest.mark.parametrize(
        ("value", "resampled", "jackknife", "why"),
        [
            (0.5, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "no patient makes a difference"),
            (0.3, [0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2], "no patient makes a difference"),
            (0.5, [0.5, 0.5], [np.nan], "only one patient"),
            (0.5, [0.4, 0.6], [0.4, np.nan, 0.5], "without one of the patients"),
            (0.9, [0.4, 0.6], [0.4, 0.3], "one side"),
            (np.nan, [np.nan, np.nan], [np.nan, np.nan], "no resample has a value"),
            (0.5, [0.4] + 999 * [0.6], np.r_[np.zeros(2000), 1.0], "acceleration"),
        ],
    )  # fmt: skip
    def test_where_there_is_none_the_reason_is_told(
        self, value: float, resampled: list[float], jackknife: list[float], why: str
    ) -> None:
        confidence = 1 - 1e-15 if why == "acceleration" else 0.95
        result = bca_interval(value, np.array(resampled), np.array(jackknife), confidence)
        assert np.isnan([result.low, result.high]).all()
        assert why in result.reason

    @pytest.mark.parametrize("kind", ["percentile", "bca"])
    def test_one_patient_has_no_interval(self, kind: str) -> None:
        result = summarise_cases(means, {"v": np.array([1.0, 2.0])}, ["a", "a"], 50, 0.95, 0, kind)["v"]
        assert (result.value, result.reason) == (1.5, "there is only one patient")
        assert np.isnan([result.low, result.high]).all()

    @pytest.mark.parametrize("kind", ["percentile", "bca"])
    def test_one_patient_with_a_value_has_no_interval(self, kind: str) -> None:
        """Each resample with a value has the same one, so percentiles would be an interval of no width."""
        values = {"v": np.array([1.0, 2.0, np.nan]), "w": np.array([1.0, 2.0, 6.0])}
        results = summarise_cases(means, values, ["a", "a", "b"], 50, 0.95, 0, kind)
        assert (results["v"].value, results["v"].reason) == (1.5, "there is only one patient")
        assert np.isnan([results["v"].low, results["v"].high]).all()
        assert results["w"].reason != "there is only one patient"

    def test_each_row_lacks_one_patient(self) -> None:
        values = np.random.default_rng(5).normal(size=len(PATIENTS))
        (counts,) = sampling(tuple(PATIENTS), 5, 0, "bca")
        for name, result in zip(sorted(set(PATIENTS)), mean(values, counts[6:]), strict=True):
            assert result == pytest.approx(np.mean([v for v, patient in zip(values, PATIENTS) if patient != name]))


def either_class(measurements: Mapping[str, Floats], counts: Floats) -> dict[str, Floats]:
    """The share of positive cases, without a value unless a resample has both classes."""
    share = mean(measurements["v"], counts)
    return {"v": np.where((share > 0) & (share < 1), share, np.nan)}


class TestParity:
    def test_draws_have_55_to_60_cases(self) -> None:
        counts = parity_counts(singletons(96), seed=0)
        sizes, times = np.unique(counts.sum(1), return_counts=True)
        assert sizes.tolist() == [55, 56, 57, 58, 59, 60]
        assert stats.chisquare(times).pvalue > 0.001
        assert stats.chisquare(counts.sum(0)).pvalue > 0.001
        assert counts.max() > 1

    def test_order_of_cases_is_only_labelling(self) -> None:
        order = np.random.default_rng(0).permutation(20)
        moved = parity_counts([singletons(20)[position] for position in order], seed=5)
        assert np.array_equal(moved, parity_counts(singletons(20), seed=5)[:, order])

    def test_median_and_percentiles_of_the_first_thirty(self) -> None:
        values = np.random.default_rng(1).normal(size=96)
        result = summarise_cases(means, {"v": values}, singletons(96), 10_000, 0.95, 3, "parity")["v"]
        counts = parity_counts(singletons(96), seed=3)[:30]
        plain = sorted(np.repeat(values, row).mean() for row in counts)
        assert result.value == pytest.approx((plain[14] + plain[15]) / 2)
        assert result.low == pytest.approx(plain[0] + 0.725 * (plain[1] - plain[0]))
        assert result.high == pytest.approx(plain[28] + 0.275 * (plain[29] - plain[28]))
        assert (result.resamples, result.undefined, result.n) == (30, 0, 96)

    def test_draws_without_a_class_are_replaced_and_counted(self) -> None:
        values = np.zeros(90)
        values[0] = 1
        result = summarise_cases(either_class, {"v": values}, singletons(90), 10, 0.9, 0, "parity")["v"]
        shares = [np.repeat(values, row).mean() for row in parity_counts(singletons(90), seed=0)]
        used = [index for index, share in enumerate(shares) if share > 0][:30]
        assert 0 < result.undefined == used[-1] + 1 - 30
        assert result.value == pytest.approx(np.median([shares[index] for index in used]))

    def test_too_few_draws_with_a_value(self) -> None:
        values = np.zeros(5000)
        values[0] = 1
        result = summarise_cases(either_class, {"v": values}, singletons(5000), 10, 0.9, 0, "parity")["v"]
        defined = np.count_nonzero(parity_counts(singletons(5000), seed=0)[:, 0])
        assert defined < 30
        assert np.isnan([result.value, result.low, result.high]).all()
        assert result.reason == f"{defined} of 300 resamples have a value, and 30 are needed"


class TestSwaps:
    @pytest.mark.parametrize("permutations", [10, 16, 1000])
    def test_whole_patients_change_sides(self, permutations: int) -> None:
        pieces, exact = swap_counts(PATIENTS, permutations, seed=0)
        ((first, second),) = pieces
        assert exact == (permutations >= 16)
        assert len(first) == (16 if exact else permutations + 1)
        assert np.array_equal(first + second, np.ones_like(first))
        assert np.array_equal(first, np.roll(second, len(PATIENTS), axis=1))
        unswapped = first[:, : len(PATIENTS)]
        assert unswapped[0].all()
        for name in set(PATIENTS):
            columns = unswapped[:, [position for position, patient in enumerate(PATIENTS) if patient == name]]
            assert (columns == columns[:, :1]).all()

    def test_every_pattern_once(self) -> None:
        patterns = next(swap_counts(singletons(5), 32, seed=0)[0])[0][:, :5]
        assert {tuple(row) for row in patterns} == set(itertools.product([0, 1], repeat=5))

    def test_random_patterns_are_even(self) -> None:
        patterns = next(swap_counts(singletons(30), 2000, seed=0)[0])[0][1:, :30]
        assert np.abs(patterns.mean(0) - 0.5).max() < 4 * 0.5 / np.sqrt(2000)


class TestPairedTest:
    @pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
    def test_exact_p_agrees_with_scipy(self, shift: float) -> None:
        generator = np.random.default_rng(0)
        a = generator.normal(size=9) + shift
        b = generator.normal(size=9)
        result = paired_test(means, {"v": a}, {"v": b}, singletons(9), "v", 1000, seed=0)
        theirs = stats.permutation_test(
            (a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), permutation_type="samples", vectorized=True
        )
        assert (result.exact, result.permutations, result.cases, result.patients) == (True, 512, 9, 9)
        assert result.difference == pytest.approx(theirs.statistic)
        assert result.p == pytest.approx(theirs.pvalue)

    def test_random_p_agrees_with_the_exact_one(self) -> None:
        generator = np.random.default_rng(1)
        a = generator.normal(size=12) + 0.5
        b = generator.normal(size=12)
        exact = paired_test(means, {"v": a}, {"v": b}, singletons(12), "v", 4096, seed=0)
        drawn = paired_test(means, {"v": a}, {"v": b}, singletons(12), "v", 4000, seed=0)
        assert (exact.exact, drawn.exact, drawn.permutations) == (True, False, 4000)
        assert drawn.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p * (1 - exact.p) / 4000))
        assert drawn.p * 4001 == pytest.approx(round(drawn.p * 4001))

    def test_patients_against_a_plain_loop(self) -> None:
        generator = np.random.default_rng(2)
        a = generator.normal(size=7) + 0.3
        b = generator.normal(size=7)
        patients = sorted(set(PATIENTS))
        differences = []
        for signs in itertools.product([1, -1], repeat=len(patients)):
            sign = dict(zip(patients, signs))
            differences.append(sum(sign[patient] * (x - y) for patient, x, y in zip(PATIENTS, a, b)) / 7)
        expected = np.mean([abs(difference) >= abs(differences[0]) - 1e-12 for difference in differences])
        result = paired_test(means, {"v": a}, {"v": b}, PATIENTS, "v", 100, seed=0)
        assert (result.p, result.difference) == pytest.approx((expected, differences[0]))
        assert (result.cases, result.patients) == (7, 4)

    def test_measure_made_of_several_measurements(self) -> None:
        generator = np.random.default_rng(3)
        total = generator.integers(5, 9, size=6).astype(float)
        a, b = ({"hits": generator.integers(0, 5, size=6).astype(float), "total": total} for _ in range(2))
        a["hits"][2] = np.nan
        result = paired_test(ratio, a, b, singletons(6), "ratio", 100, seed=0)
        rest = [0, 1, 3, 4, 5]
        differences = []
        for swapped in itertools.product([False, True], repeat=5):
            sides = [(b, a) if swap else (a, b) for swap in swapped]
            left, right = (
                sum(side[which]["hits"][case] for side, case in zip(sides, rest)) / total[rest].sum()
                for which in (0, 1)
            )
            differences.append(left - right)
        assert result.difference == pytest.approx(differences[0])
        assert result.p == pytest.approx(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))

    def test_only_cases_defined_in_both_enter(self) -> None:
        a = np.array([1.0, np.nan, 3.0, 4.0, 5.0])
        b = np.array([0.5, 1.0, np.nan, 3.0, 4.9])
        other = np.full(5, np.nan)
        groups = ["x", "y", "z", "w", "w"]
        result = paired_test(means, {"v": a, "o": other}, {"v": b, "o": other}, groups, "v", 100, seed=0)
        defined = [0, 3, 4]
        alone = paired_test(means, {"v": a[defined]}, {"v": b[defined]}, ["x", "w", "w"], "v", 100, seed=0)
        assert result == alone
        assert (result.cases, result.patients, result.permutations) == (3, 2, 4)

    def test_nothing_in_common(self) -> None:
        nothing = {"v": np.array([np.nan])}
        result = paired_test(means, {"v": np.array([1.0])}, nothing, ["x"], "v", 100, seed=0)
        assert np.isnan([result.difference, result.p]).all()
        assert (result.cases, result.patients) == (0, 0)

    def test_equal_combinations(self) -> None:
        values = np.random.default_rng(4).random(30) / 3
        result = paired_test(means, {"v": values}, {"v": values.copy()}, singletons(30), "v", 500, seed=0)
        assert result.p == 1.0
        assert result.difference == pytest.approx(0, abs=1e-15)

    def test_rounding_does_not_decide_ties(self) -> None:
        """0.1 + 0.2 against 0.3: all sign patterns with the same exact difference count as equal."""
        a = np.array([0.1, 0.2, 0.3, 0.7, 0.1, 0.3])
        result = paired_test(means, {"v": a}, {"v": np.zeros(6)}, singletons(6), "v", 100, seed=0)
        whole = paired_test(means, {"v": np.round(10 * a)}, {"v": np.zeros(6)}, singletons(6), "v", 100, seed=0)
        assert result.p == whole.p == 2 / 64

    @pytest.mark.parametrize("permutations", [99, 1024])
    def test_false_positive_rate(self, permutations: int) -> None:
        """On patients of two like cases without any difference, p <= 0.1 happens in one trial of ten."""
        generator = np.random.default_rng(5)
        groups = [f"{patient}" for patient in range(10) for _ in range(2)]
        positive = 0
        for trial in range(300):
            effect = np.repeat(generator.normal(size=10), 2)
            a = effect + generator.normal(size=20)
            b = generator.normal(size=20)
            positive += paired_test(means, {"v": a}, {"v": b}, groups, "v", permutations, seed=trial).p <= 0.1
        low, high = stats.binom.ppf([0.001, 0.999], 300, 0.1)
        assert low <= positive <= high

    def test_order_of_cases_does_not_matter(self) -> None:
        generator = np.random.default_rng(6)
        a = generator.normal(size=20)
        b = generator.normal(size=20)
        order = generator.permutation(20)
        groups = singletons(20)
        result = paired_test(means, {"v": a}, {"v": b}, groups, "v", 500, seed=0)
        moved = [groups[position] for position in order]
        other = paired_test(means, {"v": a[order]}, {"v": b[order]}, moved, "v", 500, seed=0)
        assert result.p == other.p

    def test_a_clear_difference_is_found(self) -> None:
        values = np.random.default_rng(7).normal(size=40)
        result = paired_test(means, {"v": values + 1}, {"v": values}, singletons(40), "v", 999, seed=0)
        assert result.p == pytest.approx(1 / 1000)
        assert result.difference == pytest.approx(1)


def plain_holm(values: list[float]) -> list[float]:
    """Walks the ordered hypotheses: each is multiplied by the number not yet rejected and never below the last."""
    ordered = sorted((value, position) for position, value in enumerate(values) if value == value)
    adjusted = [float("nan")] * len(values)
    last = 0.0
    for done, (value, position) in enumerate(ordered):
        last = max(last, min(1.0, value * (len(ordered) - done)))
        adjusted[position] = last
    return adjusted


class TestHolm:
    def test_by_hand(self) -> None:
        assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])

    def test_plain_implementation(self) -> None:
        generator = np.random.default_rng(0)
        for count in range(12):
            values = np.round(generator.random(count) ** 3, 2)
            values[generator.random(count) < 0.2] = np.nan
            assert holm(values) == pytest.approx(plain_holm(values.tolist()), nan_ok=True)

    def test_input_is_left_alone(self) -> None:
        values = np.array([0.5, 0.01])
        holm(values)
        assert values.tolist() == [0.5, 0.01]


class TestFalseDiscovery:
    def test_scipy_agrees(self) -> None:
        generator = np.random.default_rng(0)
        for count in range(1, 40):
            values = np.round(generator.random(count) ** 3, 2)
            assert benjamini_hochberg(values) == pytest.approx(stats.false_discovery_control(values))
            assert benjamini_yekutieli(values) == pytest.approx(stats.false_discovery_control(values, method="by"))

    def test_missing_values_do_not_count(self) -> None:
        values = np.array([np.nan, 0.02, 0.5, np.nan, 0.03])
        expected = stats.false_discovery_control(values[[1, 2, 4]])
        assert benjamini_hochberg(values) == pytest.approx([np.nan, *expected[:2], np.nan, expected[2]], nan_ok=True)
        expected = stats.false_discovery_control(values[[1, 2, 4]], method="by")
        assert benjamini_yekutieli(values) == pytest.approx([np.nan, *expected[:2], np.nan, expected[2]], nan_ok=True)
        for adjust in (benjamini_hochberg, benjamini_yekutieli):
            assert np.isnan(adjust(np.full(2, np.nan))).all()

    def test_never_above_holm(self) -> None:
        values = np.random.default_rng(1).random(50) ** 4
        assert (benjamini_hochberg(values) <= holm(values) + 1e-15).all()


def test_once_takes_every_case() -> None:
    (counts,) = sampling(("a", "b", "b"), 5, 0, "percentile")
    assert mean(np.array([1.0, 2.0, 6.0]), counts)[0] == 3.0
