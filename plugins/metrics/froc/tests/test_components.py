"""The components at falling thresholds against labels computed anew at each threshold."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, generate_binary_structure, label

from heatproof_froc.components import components, geometric_ranks, hottest, offsets

Array = NDArray[Any]


def maps() -> list[Array]:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(24, 31)).astype(np.float32)
    coarse = generator.integers(0, 40, (17, 9)).astype(np.float32)
    return [
        noise,
        gaussian_filter(noise, 2),
        coarse,
        generator.normal(size=(6, 7, 8)),
        gaussian_filter(noise[:, :5], 1),
    ]


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("heatmap", maps(), ids=["noise", "smooth", "ties", "volume", "narrow"])
@pytest.mark.parametrize("cover", [0.1, 0.5, 1])
def test_the_same_as_labelling_each_threshold(heatmap: Array, connectivity: int, cover: float) -> None:
    structure = generate_binary_structure(heatmap.ndim, {4: 1, 8: heatmap.ndim}[connectivity])
    hot = hottest(heatmap, int(cover * heatmap.size), 20)
    regions = list(components(hot, heatmap.shape, connectivity))
    assert len(regions) == len(hot.thresholds) > 1
    for threshold, (labels, count) in zip(hot.thresholds, regions):
        expected, number = label(heatmap >= threshold, structure)
        assert count == number
        assert len(labels) == np.count_nonzero(expected)
        pairs = set(zip(labels.tolist(), expected.flat[hot.positions[: len(labels)]].tolist()))
        assert len(pairs) == count
        assert 0 not in {number for _, number in pairs}


class TestHottest:
    def test_order_thresholds_and_counts(self) -> None:
        heatmap = np.array([[1.0, 5, 3], [3, 0, 5], [-2, 4, 3]])
        hot = hottest(heatmap, 6, 10)
        assert hot.positions.tolist() == [1, 5, 7, 2, 3, 8]
        assert hot.thresholds.tolist() == [5, 4, 3]
        assert hot.reached.tolist() == [2, 3, 6]

    def test_a_level_that_does_not_fit_is_left_out(self) -> None:
        heatmap = np.array([[1.0, 5, 3], [3, 0, 5], [-2, 4, 3]])
        assert hottest(heatmap, 5, 10).thresholds.tolist() == [5, 4]
        assert hottest(heatmap, 9, 10).thresholds.tolist() == [5, 4, 3, 1, 0, -2]

    @pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
    def test_a_constant_heatmap_cannot_be_cut(self, value: float) -> None:
        hot = hottest(np.full((4, 4), value), 8, 10)
        assert hot.positions.size == hot.thresholds.size == hot.reached.size == 0
        assert list(components(hot, (4, 4), 8)) == []

    def test_at_most_so_many_thresholds_and_the_first_ranks(self) -> None:
        heatmap = np.random.default_rng(0).permutation(10_000).reshape(100, 100).astype(np.float32)
        hot = hottest(heatmap, 2500, 50)
        assert 40 <= len(hot.thresholds) <= 50
        assert hot.reached[:4].tolist() == [1, 2, 3, 4]
        assert hot.reached[-1] == 2500
        assert hot.thresholds.tolist() == [10_000 - reached for reached in hot.reached]


def test_geometric_ranks_keep_the_ends() -> None:
    for size in (0, 1, 2, 49, 50, 51, 1000, 100_000):
        ranks = geometric_ranks(size, 50)
        assert len(ranks) <= 50
        assert (np.diff(ranks) > 0).all()
        if size <= 50:
            assert ranks.tolist() == list(range(1, size + 1))
        else:
            assert (ranks[0], ranks[-1]) == (1, size)


@pytest.mark.parametrize(("dimensions", "connectivity", "count"), [(2, 4, 2), (2, 8, 4), (3, 4, 3), (3, 8, 13)])
def test_offsets_are_half_of_the_neighbours(dimensions: int, connectivity: int, count: int) -> None:
    steps = set(offsets(dimensions, connectivity))
    assert len(steps) == count
    assert not steps & {tuple(-component for component in step) for step in steps}
