"""ROAD: imputation against a dense solve, curves against plain loops, and the scores of random heatmaps."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heatproof.seeding import generator
from heatproof_faithfulness.imputation import imputed, system
from heatproof_faithfulness.ranking import ranking
from heatproof_faithfulness.road import Road

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)


def dense(image: Array, missing: Array) -> Array:
    """Impute by one equation per missing pixel, solved with NumPy."""
    positions = [tuple(position) for position in np.argwhere(missing)]
    matrix = np.zeros((len(positions), len(positions)))
    sums = np.zeros((len(positions), len(image)))
    for row, position in enumerate(positions):
        neighbours = []
        for steps in itertools.product((-1, 0, 1), repeat=missing.ndim):
            other = tuple(np.add(position, steps))
            if any(steps) and all(0 <= at < size for at, size in zip(other, missing.shape)):
                neighbours.append(
                    (other, {2: {1: 1 / 6, 2: 1 / 12}, 3: {1: 6, 2: 3, 3: 2}}[missing.ndim][sum(map(abs, steps))])
                )
        total = sum(weight for _, weight in neighbours)
        matrix[row, row] = 1
        for other, weight in neighbours:
            if missing[other]:
                matrix[row, positions.index(other)] -= weight / total
            else:
                sums[row] += weight / total * image[(slice(None), *other)]
    result = image.copy()
    result[:, missing] = np.linalg.solve(matrix, sums).T
    return result


class Weighted(nn.Module):
    """A random weight for every value; the second logit is 0."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(np.random.default_rng(5).normal(size=shape)))

    def forward(self, images: Tensor) -> Tensor:
        total = (images * self.weights).flatten(1).sum(1)
        return torch.stack([total, 0 * total], 1)


class TestImputation:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    @pytest.mark.parametrize("shape", [(3, 9, 11), (1, 1, 12), (2, 4, 5, 3)])
    def test_dense_solve(self, shape: tuple[int, ...], share: float) -> None:
        image = RANDOM.normal(size=shape)
        missing = RANDOM.random(shape[1:]) < share
        missing[(0,) * missing.ndim] = False
        missing[(-1,) * missing.ndim] = True
        result = imputed(image, missing)
        assert result == pytest.approx(dense(image, missing), rel=1e-10, abs=1e-12)
        assert np.array_equal(result[:, ~missing], image[:, ~missing])

    def test_a_hole_in_a_slope_is_filled_with_the_slope(self) -> None:
        y, x = np.indices((12, 13))
        image = np.stack([2.0 * y - 3.0 * x, 1.0 * x])
        missing = np.zeros((12, 13), dtype=bool)
        missing[3:9, 2:11] = True
        spoilt = np.where(missing, 100.0, image)
        assert imputed(spoilt, missing) == pytest.approx(image, abs=1e-11)

    def test_constants_stay_and_nothing_missing_changes_nothing(self) -> None:
        missing = RANDOM.random((8, 8)) < 0.8
        missing[0, 0] = False
        assert imputed(np.full((1, 8, 8), 4.0), missing) == pytest.approx(np.full((1, 8, 8), 4.0), abs=1e-12)
        image = RANDOM.random((1, 8, 8))
        assert np.array_equal(imputed(image, np.zeros((8, 8), dtype=bool)), image)

    def test_the_system_is_symmetric_and_positive_definite(self) -> None:
        missing = RANDOM.random((9, 9)) < 0.7
        matrix = system(RANDOM.random((1, 9, 9)), missing)[0].toarray()
        assert np.array_equal(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > 0


class TestRoad:
    FIELD = np.zeros((7, 8), dtype=bool)
    FIELD[1:6, 1:7] = True

    @pytest.mark.parametrize("field", [None, FIELD], ids=["whole", "field"])
    def test_plain_loops(self, case: Any, field: Any) -> None:
        image = RANDOM.random((2, 7, 8))
        heat = RANDOM.normal(size=(7, 8))
        inside = np.ones((7, 8), bool) if field is None else field
        weights = np.random.default_rng(5).normal(size=(2, 7, 8))
        noise = 0.3 * generator(3, "two", "road").standard_normal((2, 7, 8))
        metric = Road(percentages=(20, 50, 85), noise=0.3, of="logit")
        result = metric.measure(case(Weighted((2, 7, 8)), image, heat, field=field, rows=2, id="two", seed=3))
        same = float((weights * image).sum() > 0)
        for name, sign in (("morf", -1), ("lerf", 1)):
            pixels = sorted(map(tuple, np.argwhere(inside)), key=lambda position: sign * heat[position])
            expected = []
            for percentage in (20, 50, 85):
                missing = np.zeros((7, 8), dtype=bool)
                for position in pixels[: percentage * len(pixels) // 100]:
                    missing[position] = True
                shown = dense(image, missing) + noise * missing
                expected.append((weights * shown).sum())
            assert result[name] == pytest.approx(expected, rel=1e-10)
            assert result[f"{name}_same"].tolist() == [float((value > 0) == same) for value in expected]
        assert result["value"] == pytest.approx(result["lerf"].mean() - result["morf"].mean())

    @pytest.mark.parametrize(("percentage", "count"), [(2.3, 2300), (100 / 3, 33_333), (5.1999, 5199)])
    def test_a_share_of_the_pixels(self, case: Any, percentage: float, count: int) -> None:
        """The product of floats for 2.3 % of 100,000 is below 2,300."""
        image = RANDOM.random((1, 250, 400))
        example = case(Weighted((1, 250, 400)), image, RANDOM.normal(size=(250, 400)))
        variants = Road(percentages=(percentage,), noise=0.5).removing(example.batch, ranking(example))
        assert int((variants(slice(1))[0, 0] != example.batch.images[0, 0]).sum()) == count

    def test_random_and_constant_heatmaps_reach_0(self, case: Any) -> None:
        image = 1 + RANDOM.random((1, 7, 8))
        metric = Road(percentages=(30, 60), of="logit", noise=0)
        model = case(Weighted((1, 7, 8)), image, image[0]).batch.model
        for heat in (lambda: RANDOM.random((7, 8)), lambda: np.zeros((7, 8))):
            values = np.array([
                metric.measure(case(model, image, heat(), id=str(id)))["value"] for id in range(100)
            ])  # fmt: skip
            assert values.mean() == pytest.approx(metric.expected("value"), abs=4 * values.std() / 10)
            assert values.std() > 0

    def test_a_good_heatmap_is_better_than_its_inverse(self, case: Any) -> None:
        """White pixels on black: removed first they lower the score, removed last they do not."""
        image = np.zeros((1, 12, 12))
        image[0, 4:8, 4:8] = 1
        network = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
        network[1].weight.data = torch.from_numpy(np.stack([image.ravel(), 0 * image.ravel()]))
        good, inverse = (Road().measure(case(network, image, sign * image[0])) for sign in (1, -1))
        assert good["value"] > 0.05
        assert inverse["value"] == pytest.approx(-good["value"], abs=0.1)
        assert (good["lerf"] > good["morf"] - 0.05).all()

    def test_noise_is_that_of_the_sample(self, case: Any, passes: Any) -> None:
        pixels = RANDOM.random((1, 7, 8))
        heat = RANDOM.normal(size=(7, 8))
        for turned in (1, -1):
            Road(percentages=(50,)).measure(case(Weighted((1, 7, 8)), pixels, turned * heat))
        first, second, third, fourth = (image.numpy() for image in passes.images)
        assert np.array_equal(first, fourth)
        assert np.array_equal(second, third)
