"""ECS against values by hand, brute force over ties, invariants, and the expectation of random heatmaps."""

import itertools
import time
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof.errors import DataError
from heatproof_lesions.agreement import Partition, Ties, cells, chosen, ecs

Array = NDArray[Any]

CONSTANT = [[1, 1], [1, 1]]
LESIONS = [[4, 3.15], [5.77, 46.97]]
SPARSE = [[3, 0], [0, 4]]
FIRST = ([[9, 0, 0], [7, 5, 0], [0, 3, 0]], [[10, 1, 0], [2, 8, 7], [0, 6, 0]])
SECOND = ([[1, 1, 0], [0, 0, 0], [0, 0, 0]], [[9, 8, 7], [6, 5, 4], [3, 2, 1]])

VECTORS: list[tuple[str, tuple[list[list[float]], list[list[float]]], int, float, float]] = [
    ("no ties", FIRST, 1, 1, 1),
    ("no ties", FIRST, 2, 1 / 2, 1 / 2),
    ("no ties", FIRST, 3, 2 / 3, 2 / 3),
    ("no ties", FIRST, 4, 3 / 4, 3 / 4),
    ("no ties", FIRST, 5, 1, 1),
    ("fewer annotated cells than top", SECOND, 4, 1, 1),
    ("ties in the heatmap", ([[4, 3], [0, 0]], CONSTANT), 2, 1, 1 / 2),
    ("ties in the annotation", ([[5, 2], [2, 2]], [[0, 1], [2, 3]]), 2, 0, 1 / 3),
    ("ties in both maps", ([[5, 2], [2, 2]], [[3, 3], [3, 0]]), 2, 1, 5 / 9),
    ("zeros in the heatmap", (LESIONS, SPARSE), 1, 1, 1),
    ("zeros in the heatmap", (LESIONS, SPARSE), 2, 1 / 2, 1 / 2),
    ("tied zeros in the heatmap", (LESIONS, SPARSE), 3, 2 / 3, 5 / 6),
    ("zeros in the heatmap", (LESIONS, SPARSE), 4, 1, 1),
    ("a constant negative heatmap", (LESIONS, [[-1, -1], [-1, -1]]), 2, 0, 1 / 2),
    ("a constant heatmap", (LESIONS, CONSTANT), 2, 0, 1 / 2),
]


def plain_cells(values: Array, grid: int, partition: Partition) -> Array:
    """Loop over pixels and cells: the shared area in exact fractions, or the whole pixel by its upper left corner."""
    height, width = values.shape
    mass = [[Fraction(0)] * grid for _ in range(grid)]
    for (row, column), (i, j) in itertools.product(np.ndindex(height, width), np.ndindex(grid, grid)):
        share = Fraction(1)
        for pixel, cell, length in ((row, i, height), (column, j, width)):
            low = Fraction(cell * length, grid)
            high = Fraction((cell + 1) * length, grid)
            if partition == "floor":
                low = Fraction(floor(low))
                high = Fraction(floor(high))
            share *= max(Fraction(0), min(high, Fraction(pixel + 1)) - max(low, Fraction(pixel)))
        mass[i][j] += share * Fraction(float(values[row, column]))
    return np.array([[float(entry) for entry in line] for line in mass])


def top_sets(values: list[float], count: int) -> Iterator[set[int]]:
    """Every set of ``count`` positions that some order of the ties would choose."""
    for positions in itertools.combinations(range(len(values)), count):
        others = [value for position, value in enumerate(values) if position not in positions]
        if not others or min(values[position] for position in positions) >= max(others):
            yield set(positions)


def brute_force(annotation: list[float], heatmap: list[float], top: int) -> float:
    """The mean over all ways to break the ties of both maps."""
    count = min(top, sum(value > 0 for value in annotation))
    pairs = itertools.product(top_sets(annotation, count), top_sets(heatmap, min(top, len(heatmap))))
    return float(np.mean([len(lesions & hottest) / count for lesions, hottest in pairs]))


def shuffled_ties(annotation: list[float], heatmap: list[float], top: int) -> float:
    """The literal formula averaged over all orders of the cells of each map."""
    count = min(top, sum(value > 0 for value in annotation))
    orders = list(itertools.permutations(range(len(annotation))))
    lesion_sets = [set(sorted(order, key=lambda cell: -annotation[cell])[:count]) for order in orders]
    hottest_sets = [set(sorted(order, key=lambda cell: -heatmap[cell])[:top]) for order in orders]
    pairs = itertools.product(lesion_sets, hottest_sets)
    return float(np.mean([len(lesions & hottest) / count for lesions, hottest in pairs]))


@pytest.fixture(scope="module")
def random_cells() -> Array:
    """The cells (2000, 10, 10) of positive random maps whose side, like 448, is no multiple of ten."""
    generator = np.random.default_rng(0)
    return np.stack([cells(generator.random((112, 112), dtype=np.float32), 10) for _ in range(2000)])


class TestVectors:
    @pytest.mark.parametrize(("name", "maps", "top", "stable", "expected"), VECTORS)
    def test_vector(self, name: str, maps: tuple[Any, Any], top: int, stable: float, expected: float) -> None:
        annotation, heatmap = np.array(maps, dtype=float)
        assert ecs(annotation, heatmap, top, "stable") == pytest.approx(stable), name
        assert ecs(annotation, heatmap, top) == pytest.approx(expected), name
        assert brute_force(annotation.ravel().tolist(), heatmap.ravel().tolist(), top) == pytest.approx(expected)

    def test_partition_of_five_pixels_in_two(self) -> None:
        ramp = np.arange(25).reshape(5, 5)
        assert cells(ramp, 2).tolist() == [[30, 45], [105, 120]]
        assert cells(ramp, 2, "floor").tolist() == [[12, 33], [93, 162]]
        dot = np.zeros((5, 5))
        dot[2, 2] = 1
        assert cells(dot, 2).tolist() == [[0.25, 0.25], [0.25, 0.25]]
        assert cells(dot, 2, "floor").tolist() == [[0, 0], [0, 1]]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_undefined(self, bad: float) -> None:
        heatmap = np.ones((4, 4), dtype=np.float32)
        heatmap[1, 2] = bad
        assert np.isnan(ecs(np.array(LESIONS), cells(heatmap, 2), 2))
        assert np.isnan(ecs(np.array(LESIONS), np.array([[1, bad], [2, 3]]), 2))
        assert np.isnan(ecs(np.zeros((2, 2)), np.array(CONSTANT), 2))


class TestCells:
    @pytest.mark.parametrize("partition", ["area", "floor"])
    @pytest.mark.parametrize(("shape", "grid"), [((5, 5), 2), ((7, 4), 3), ((6, 6), 3), ((3, 2), 4), ((5, 5), 1)])
    def test_plain_sums(self, shape: tuple[int, int], grid: int, partition: Partition) -> None:
        values = np.random.default_rng(0).normal(size=shape)
        mass = cells(values, grid, partition)
        assert mass == pytest.approx(plain_cells(values, grid, partition), abs=1e-12)
        assert mass.sum() == pytest.approx(values.sum())
        assert mass.dtype == np.float64

    def test_partitions_agree_where_the_grid_divides_the_side(self) -> None:
        values = np.random.default_rng(1).integers(0, 9, size=(40, 20))
        blocks = values.reshape(10, 4, 10, 2).sum((1, 3))
        assert np.array_equal(cells(values, 10), blocks)
        assert np.array_equal(cells(values, 10, "floor"), blocks)

    def test_widths_of_the_floor_partition(self) -> None:
        widths = cells(np.ones((448, 448)), 10, "floor")[0] / 44
        assert widths.tolist() == [44, 45, 45, 45, 45, 44, 45, 45, 45, 45]

    @pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
    def test_any_number_type(self, dtype: type) -> None:
        values = np.random.default_rng(2).integers(0, 2, size=(9, 9))
        assert np.array_equal(cells(values.astype(dtype), 4), cells(values, 4))

    def test_equal_cells_of_a_constant_map_are_equal_to_the_bit(self) -> None:
        assert len(np.unique(cells(np.full((448, 448), 0.1, dtype=np.float32), 10))) == 1

    def test_volumes_are_refused(self) -> None:
        with pytest.raises(DataError, match=r"\(height, width\).*\(2, 3, 4\)"):
            cells(np.zeros((2, 3, 4)), 2)


class TestTies:
    def test_every_order_of_two_by_two_cells(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(25):
            annotation, heatmap = generator.integers(0, 3, size=(2, 4)).astype(float)
            annotation[0] += 1
            for top in (1, 2, 3, 4):
                expected = shuffled_ties(annotation.tolist(), heatmap.tolist(), top)
                assert ecs(annotation, heatmap, top) == pytest.approx(expected)

    def test_every_choice_of_three_by_three_cells(self) -> None:
        generator = np.random.default_rng(1)
        for _ in range(20):
            annotation, heatmap = generator.integers(0, 4, size=(2, 9)).astype(float)
            annotation[0] += 1
            for top in (1, 3, 5, 9, 12):
                expected = brute_force(annotation.tolist(), heatmap.tolist(), top)
                assert ecs(annotation, heatmap, top) == pytest.approx(expected)

    def test_a_thousand_cases_by_the_formula(self) -> None:
        """The sum of p · q over the cells, over their count: a share p or q is 1 above the tied level, r / t on it."""

        def shares(values: list[float], count: int) -> list[float]:
            level = sorted(values, reverse=True)[count - 1]
            tied_share = (count - sum(value > level for value in values)) / values.count(level)
            return [float(value > level) + tied_share * (value == level) for value in values]

        for seed in range(1000):
            generator = np.random.default_rng(seed)
            annotation = generator.integers(0, 6, 25).astype(float)
            heatmap = generator.integers(-3, 4, 25).astype(float)
            annotation[0] += 1
            count = min(7, sum(value > 0 for value in annotation.tolist()))
            pairs = zip(shares(annotation.tolist(), count), shares(heatmap.tolist(), 7))
            expected = sum(p * q for p, q in pairs) / count
            assert ecs(annotation, heatmap, 7) == pytest.approx(expected, rel=1e-12)

    def test_stable_is_row_major(self) -> None:
        generator = np.random.default_rng(2)
        for _ in range(50):
            values = generator.integers(-2, 3, size=12).astype(float)
            first = np.argsort(-values, kind="stable")[:5]
            assert np.flatnonzero(chosen(values, 5, "stable")).tolist() == sorted(first)

    @pytest.mark.parametrize("ties", ["expected", "stable"])
    def test_chosen_sum_to_their_number(self, ties: Ties) -> None:
        values = np.random.default_rng(3).integers(0, 4, size=100).astype(float)
        for count in range(1, 101):
            assert chosen(values, count, ties).sum() == pytest.approx(count)

    def test_rounding_does_not_break_ties(self) -> None:
        values = np.array([0.1 + 0.2, 0.3, 0.1, 0.0])
        assert chosen(values, 1).tolist() == [0.5, 0.5, 0, 0]

    def test_a_constant_heatmap_earns_chance(self) -> None:
        annotation = np.zeros((448, 448), dtype=np.float32)
        annotation[:130, :90] = 1
        for value in (0.1, -7.3, 0.0):
            constant = np.full((448, 448), value)
            assert ecs(cells(annotation, 10), cells(constant, 10), 15) == pytest.approx(0.15)


class TestInvariants:
    def test_bounds_and_multiples(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(200):
            annotation = np.maximum(generator.normal(size=(5, 5)), 0)
            count = min(7, np.count_nonzero(annotation))
            score = ecs(annotation, generator.normal(size=(5, 5)), 7)
            assert 0 <= score <= 1
            assert score * count == pytest.approx(round(score * count))
            assert ecs(annotation, annotation, 7) == 1

    def test_all_cells_find_all_lesions(self) -> None:
        generator = np.random.default_rng(1)
        annotation = np.maximum(generator.normal(size=(4, 4)), 0)
        for top in (16, 17, 400):
            assert ecs(annotation, generator.normal(size=(4, 4)), top) == 1

    def test_symmetry(self) -> None:
        first, second = np.random.default_rng(2).random((2, 50, 6, 6))
        scores = [ecs(a, b, 9) for a, b in zip(first, second)]
        assert scores == [ecs(b, a, 9) for a, b in zip(first, second)]
        assert len(set(scores)) > 3

    @pytest.mark.parametrize("ties", ["expected", "stable"])
    @pytest.mark.parametrize(("scale", "shift"), [(3, 7), (0.01, -2), (1000, 0)])
    def test_scale_and_shift_of_the_heatmap(self, scale: float, shift: float, ties: Ties) -> None:
        generator = np.random.default_rng(3)
        for _ in range(30):
            annotation = cells(generator.random((56, 48)) > 0.98, 10)
            heatmap = generator.normal(size=(56, 48))
            sparse = np.where(generator.random((56, 48)) > 0.99, generator.random((56, 48)), 0)
            for values in (heatmap, sparse):
                moved = cells(scale * values + shift, 10)
                assert ecs(annotation, moved, 15, ties) == pytest.approx(ecs(annotation, cells(values, 10), 15, ties))

    def test_flips_and_transposition_of_both(self) -> None:
        generator = np.random.default_rng(4)
        for _ in range(30):
            annotation = (generator.random((45, 53)) > 0.97).astype(float)
            heatmap = np.where(generator.random((45, 53)) > 0.95, generator.normal(size=(45, 53)), 0)
            score = ecs(cells(annotation, 10), cells(heatmap, 10), 15)
            for moved in (np.flipud, np.fliplr, np.transpose):
                other = ecs(cells(moved(annotation), 10), cells(moved(heatmap), 10), 15)
                assert other == pytest.approx(score)


class TestRandomHeatmaps:
    @pytest.mark.parametrize("top", [10, 15, 20])
    def test_expectation(self, random_cells: Array, top: int) -> None:
        annotation = np.random.default_rng(1).random((10, 10))
        scores = np.array([ecs(annotation, heatmap, top) for heatmap in random_cells])
        assert scores.mean() == pytest.approx(top / 100, abs=3 * scores.std() / np.sqrt(len(scores)))

    @pytest.mark.parametrize(("count", "deviation"), [(15, 0.0854), (5, 0.1564), (1, 0.3571)])
    def test_deviation(self, random_cells: Array, count: int, deviation: float) -> None:
        """The number of hits is hypergeometric; its standard deviation has a closed form."""
        annotation = np.zeros(100)
        annotation[np.random.default_rng(2).permutation(100)[:count]] = np.arange(1, count + 1)
        scores = np.array([ecs(annotation.reshape(10, 10), heatmap, 15) for heatmap in random_cells])
        expected = np.sqrt(count * 0.15 * 0.85 * (100 - count) / 99) / count
        assert expected == pytest.approx(deviation, abs=5e-5)
        kurtosis = ((scores - scores.mean()) ** 4).mean() / scores.var() ** 2
        error = expected * np.sqrt((kurtosis - 1) / 4 / len(scores))
        assert scores.std() == pytest.approx(expected, abs=3 * error)
        assert scores.mean() == pytest.approx(0.15, abs=3 * expected / np.sqrt(len(scores)))


class TestPartitions:
    """At 448 pixels ``floor`` makes 64 cells larger than the others; a positive random map selects these cells."""

    def maps(self, count: int) -> Iterator[Array]:
        generator = np.random.default_rng(5)
        return (generator.random((448, 448), dtype=np.float32) for _ in range(count))

    def rates(self, partition: Partition) -> Array:
        shares = [chosen(cells(heatmap, 10, partition), 15).reshape(10, 10) for heatmap in self.maps(250)]
        return np.mean(shares, axis=0)

    def test_floor_never_picks_the_border_and_the_centre(self) -> None:
        rates = self.rates("floor")
        assert rates.mean(1)[[0, 5]].max() < 0.02
        large = [1, 2, 3, 4, 6, 7, 8, 9]
        assert rates.mean(1)[large].min() > 0.16
        assert rates[np.ix_(large, large)].sum() / 15 == pytest.approx(0.985, abs=0.01)

    def test_area_picks_every_row_alike(self) -> None:
        error = np.sqrt(0.15 * 0.85 / (10 * 250))
        assert np.abs(self.rates("area").mean(1) - 0.15).max() < 4 * error

    def test_a_shift_changes_the_score_of_floor_only(self) -> None:
        lesions = np.random.default_rng(6).random((448, 448)) > 0.9995
        changed = {}
        for partition in ("area", "floor"):
            annotation = cells(lesions, 10, partition)
            changed[partition] = 0
            for heatmap in self.maps(30):
                score = ecs(annotation, cells(heatmap - 0.5, 10, partition), 15)
                shifted = ecs(annotation, cells(3 * heatmap + 7, 10, partition), 15)
                changed[partition] += score != shifted
        assert changed["area"] == 0
        assert changed["floor"] > 10


@pytest.mark.slow
def test_a_map_of_448_pixels_takes_at_most_a_millisecond() -> None:
    generator = np.random.default_rng(0)
    heatmap = generator.random((448, 448), dtype=np.float32)
    annotation = generator.random((10, 10))
    times = []
    for _ in range(30):
        start = time.perf_counter()
        ecs(annotation, cells(heatmap, 10), 15)
        times.append(time.perf_counter() - start)
    assert min(times) <= 1e-3
