"""The functions of localization against a small example, every way to break ties, plain loops and closed forms."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof_localization.iou import box, hot, iou
from heatproof_localization.localization import cut, mask
from heatproof_localization.pointing import pointing, widened
from heatproof_localization.relevance import relevance_mass, relevance_rank

Array = NDArray[Any]

HEAT = np.array([[0.1, 0.2, 0, 0], [0, 0.9, 0.3, 0], [0, 0, 0.4, 0], [-0.5, 0, 0, 0.1]])
MASK = np.zeros((4, 4), dtype=bool)
MASK[1, 1] = MASK[1, 2] = MASK[2, 2] = True


def tops(heatmap: Array, count: int) -> list[list[int]]:
    """Every set of the ``count`` hottest pixels."""
    order = np.sort(heatmap.ravel())[::-1][:count].tolist()
    subsets = itertools.combinations(range(heatmap.size), count)
    return [list(subset) for subset in subsets if sorted(heatmap.ravel()[list(subset)], reverse=True) == order]


class TestVector:
    def test_v_loc(self) -> None:
        assert pointing(HEAT, MASK[None]).tolist() == [1]
        masses = [relevance_mass(HEAT, MASK[None], sign)[0] for sign in ("positive", "signed", "absolute")]
        assert masses == pytest.approx([0.8, 1.06666667, 0.64], abs=1e-8)
        assert relevance_rank(HEAT, MASK[None]) == [1]

    def test_v_loc_with_one_pixel_more(self) -> None:
        wider = MASK.copy()
        wider[0, 0] = True
        assert relevance_rank(HEAT, np.stack([MASK, wider])).tolist() == [1, 3 / 4]

    @pytest.mark.parametrize("value", [0.3, 7])
    def test_a_constant_heatmap_gets_the_share_of_the_mask(self, value: float) -> None:
        constant = np.full((4, 4), value)
        assert pointing(constant, MASK[None])[0] == relevance_rank(constant, MASK[None])[0] == pytest.approx(3 / 16)
        assert relevance_mass(constant, MASK[None])[0] == pytest.approx(3 / 16)


class TestPointing:
    @pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (2, 0), (2.0001, 1), (2.24, 1)])
    def test_a_distance_below_the_tolerance_is_accepted(self, tolerance: float, hit: int) -> None:
        heat, area = np.zeros((2, 7, 9))
        heat[1, 2] = 1
        area[3, 2] = 1
        assert pointing(heat, widened(area > 0, tolerance)[None]).tolist() == [hit]

    def test_distances_of_every_pixel(self) -> None:
        area = np.random.default_rng(0).random((9, 13)) > 0.97
        marked = np.argwhere(area)
        for tolerance in (1, 1.5, 3, 5):
            near = [np.hypot(*(marked - position).T).min() < tolerance for position in np.ndindex(area.shape)]
            assert widened(area, tolerance).ravel().tolist() == near

    def test_nothing_marked_stays_nothing(self) -> None:
        assert not widened(np.zeros((3, 3), dtype=bool), 15).any()

    def test_share_of_tied_maxima(self) -> None:
        heat = np.array([[5, 5, 1], [5, 0, 5]])
        areas = np.array([[[1, 0, 1], [0, 0, 0]], [[1, 1, 0], [1, 0, 1]], [[0, 0, 1], [0, 1, 0]]], dtype=bool)
        assert pointing(heat, areas).tolist() == [0.25, 1, 0]

    def test_a_thousand_heatmaps(self) -> None:
        for seed in range(1000):
            generator = np.random.default_rng(seed)
            heat = generator.integers(0, 3, (3, 4))
            areas = generator.random((2, 3, 4)) > 0.6
            hottest = [index for index, value in enumerate(heat.ravel().tolist()) if value == heat.max()]
            expected = [sum(area.ravel()[index] for index in hottest) / len(hottest) for area in areas]
            assert pointing(heat, areas).tolist() == pytest.approx(expected)


class TestRank:
    def test_every_way_to_break_ties(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(1000):
            heat = generator.integers(0, 4, (3, 3)).astype(np.float32)
            area = generator.random((3, 3)) > 0.5
            area[0, 0] = True
            marked = area.ravel().tolist()
            ways = [[marked[index] for index in way] for way in tops(heat, int(area.sum()))]
            expected = sum(sum(way) / len(way) for way in ways) / len(ways)
            assert relevance_rank(heat, area[None])[0] == pytest.approx(expected)

    def test_a_fixed_number_of_pixels(self) -> None:
        """Theiner et al. 2022: of the k hottest pixels, those in the mask, over k, whatever the size of the mask."""
        generator = np.random.default_rng(0)
        heat = generator.integers(0, 4, (3, 3))
        areas = generator.random((4, 3, 3)) > 0.5
        for top in (1, 3, 8):
            ways = tops(heat, top)
            expected = [np.mean([area.ravel()[way].mean() for way in ways]) for area in areas]
            assert relevance_rank(heat, areas, top) == pytest.approx(expected)

    def test_cut(self) -> None:
        generator = np.random.default_rng(1)
        for count in range(1, 10):
            heat = generator.integers(0, 4, (3, 3))
            last, share = cut(heat, count)
            ways = tops(heat, count)
            assert last == np.sort(heat, axis=None)[-count]
            often = np.mean([[index in way for index in range(9)] for way in ways], axis=0)
            assert often[heat.ravel() == last] == pytest.approx(share)


class TestMass:
    def test_pixels_count_by_the_share_that_is_marked(self) -> None:
        for seed in range(1000):
            generator = np.random.default_rng(seed)
            heat = generator.normal(size=(4, 5)).astype(np.float32)
            areas = generator.random((2, 4, 5)).astype(np.float32)
            total = sum(max(0.0, value) for value in heat.ravel().tolist())
            for actual, area in zip(relevance_mass(heat, areas), areas):
                pairs = zip(heat.ravel().tolist(), area.ravel().tolist())
                inside = sum(max(0.0, value) * share for value, share in pairs)
                assert actual == pytest.approx(inside / total, rel=1e-12)

    @pytest.mark.parametrize(
        ("sign", "values"), [("positive", [-1, 0, -3]), ("signed", [1, -1, 0]), ("absolute", [0, 0, 0])]
    )
    def test_no_relevance_is_undefined(self, sign: Any, values: list[float]) -> None:
        assert np.isnan(relevance_mass(np.array(values), np.eye(3), sign)).all()


class TestIou:
    @pytest.mark.parametrize(
        ("threshold", "level", "pixels"),
        [
            ("share", 3 / 16, [(1, 1), (1, 2), (2, 2)]),
            ("share", 0.01, [(1, 1)]),
            ("maximum", 0.4, [(1, 1), (2, 2)]),
            ("maximum", 1, [(1, 1)]),
            ("range", 0.6, [(1, 1), (2, 2)]),
            ("range", 1, [(1, 1)]),
            ("absolute", 0.25, [(1, 1), (1, 2), (2, 2)]),
            ("absolute", 5, []),
        ],
    )
    def test_hot_pixels(self, threshold: Any, level: float, pixels: list[tuple[int, int]]) -> None:
        hot_pixels = hot(HEAT, threshold, level)
        assert [tuple(position) for position in np.argwhere(hot_pixels)] == pixels
        assert set(np.unique(hot_pixels)) <= {0, 1}

    def test_a_share_of_the_pixels(self) -> None:
        """The product of floats for 0.575 of 100 is below 57.5."""
        assert hot(np.arange(100.0), "share", 0.575).sum() == 58

    def test_ties_are_shared(self) -> None:
        hot_pixels = hot(np.array([[3.0, 1, 1], [1, 0, 0]]), "share", 0.5)
        assert hot_pixels.ravel().tolist() == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 0, 0])
        assert hot_pixels.sum() == pytest.approx(3)

    @pytest.mark.parametrize("value", [0, -1])
    def test_without_positive_values_nothing_reaches_a_share_of_the_maximum(self, value: float) -> None:
        heat = np.full((4, 4), value)
        assert not hot(heat, "maximum", 0.5).any()
        assert iou(hot(heat, "maximum", 0.5), MASK[None]).tolist() == [0]

    @pytest.mark.parametrize("level", [0.2, 0.7])
    def test_the_range_of_chexlocalize(self, level: float) -> None:
        """Saporta et al. 2022 scale each heatmap to 0…1; a constant one has no range."""
        heat = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
        scaled = (heat - heat.min()) / (heat.max() - heat.min())
        assert np.array_equal(hot(heat, "range", level) > 0, scaled >= level)
        assert not hot(np.full((4, 4), 3.0), "range", level).any()

    def test_counting_pixels(self) -> None:
        generator = np.random.default_rng(0)
        areas = generator.random((4, 6, 7)) > 0.6
        mask = generator.random((6, 7)) > 0.5
        for actual, area in zip(iou(mask, areas), areas):
            hot_set, area_set = ({*map(tuple, np.argwhere(pixels))} for pixels in (mask, area))
            assert actual == len(hot_set & area_set) / len(hot_set | area_set)

    def test_box_round_the_largest_region(self) -> None:
        mask = np.zeros((6, 8), dtype=bool)
        mask[0, 0] = mask[0, 1] = mask[2, 3] = mask[3, 4] = mask[4, 4] = True
        assert [tuple(position) for position in np.argwhere(box(mask))] == [*itertools.product((2, 3, 4), (3, 4))]
        assert not box(np.zeros((3, 3), dtype=bool)).any()


@pytest.mark.parametrize(
    ("coverage", "covered", "expected"),
    [
        ([0, 0.2, 0.5, 0.7], 0.5, [0, 0, 1, 1]),
        ([0, 0.2, 0.4, 0.4], 0.5, [0, 0, 1, 1]),
        ([0, 0.2, 0.4, 0.4], 0, [0, 1, 1, 1]),
        ([0, 0, 0, 0], 0.5, [0, 0, 0, 0]),
        ([0, 0, 0, 0], 0, [0, 0, 0, 0]),
    ],
)
def test_mask(coverage: list[float], covered: float, expected: list[int]) -> None:
    assert mask(np.array(coverage, dtype=np.float32), covered).tolist() == [bool(inside) for inside in expected]
