"""The measures of gaze against SciPy, plain sums and closed forms; readers, ceilings, geometry and odd heatmaps."""

from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import entropy, pearsonr, zscore

from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.transforms import Resize
from heatproof.metric import Case, Undefined
from heatproof.records import Annotation, Geometry, Heatmap, Sample
from heatproof.testing import conforms
from heatproof_eyetracking.gaze import counted
from heatproof_gaze.gaze import Gaze
from heatproof_gaze.likeness import correlation, divergence, scanpath
from heatproof_lesions.agreement import cells, ecs

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
NAMES = ("correlation", "kl", "nss", "ecs")


def gaze(values: Array, reader: str = "", finding: str = "gaze") -> Annotation:
    return Annotation(finding, values.astype(np.float32), "density", reader)


def case(heat: Any, *annotations: Annotation, points: Array | None = None, readers: Any = None, **known: Any) -> Case:
    heat = np.asarray(heat, dtype=np.float32)
    extras = {}
    if points is not None:
        extras["fixations"] = points
    if readers is not None:
        extras["fixation_readers"] = np.array(readers)
    sample = Sample("one", np.zeros((1, *heat.shape), dtype=np.float32), annotations, extras=extras, **known)
    return Case(sample, heatmap=Heatmap(heat))


@conforms(
    Gaze(finding="left"), Gaze(finding="right", readers="each", grid=4, top=3), Gaze(finding="left", readers="union")
)
def test_conformance(check):
    check()


class TestValues:
    def test_correlation_equals_scipy(self) -> None:
        for _ in range(1000):
            first, second = RANDOM.normal(size=(2, 5, 6))
            expected = pearsonr(first.ravel(), second.ravel()).statistic
            assert correlation(first, second) == pytest.approx(expected, abs=1e-12)

    def test_divergence_equals_scipy(self) -> None:
        for _ in range(1000):
            density = RANDOM.random((4, 5))
            heat = RANDOM.normal(size=(4, 5))
            positive = np.maximum(heat, 0) / np.maximum(heat, 0).sum()
            mixed = 0.99 * positive + 0.01 / 20
            expected = entropy(density.ravel() / density.sum(), mixed.ravel())
            assert divergence(density, heat, 0.01) == pytest.approx(expected, rel=1e-12)

    def test_scanpath_equals_scipy(self) -> None:
        for _ in range(100):
            heat = RANDOM.normal(size=(4, 5))
            pixels = RANDOM.integers(0, 4, (6, 2))
            expected = np.mean([zscore(heat, axis=None)[row, column] for row, column in pixels])
            assert scanpath(heat, pixels) == pytest.approx(expected, rel=1e-12)

    def test_closed_forms(self) -> None:
        dot = np.zeros((10, 10))
        dot[3, 4] = 1
        even = np.ones((10, 10))
        assert divergence(dot, even, 1e-6) == pytest.approx(np.log(100))
        assert divergence(even, dot, 1e-6) == pytest.approx(
            -np.log(1e-8) * 0.99 + 0.01 * np.log(0.01) + np.log(1e-2) * 0.99
        )
        assert scanpath(dot, np.array([[3, 4]])) == pytest.approx(np.sqrt(99))
        assert scanpath(dot, np.array([[0, 0]])) == pytest.approx(-1 / np.sqrt(99))

    def test_a_case(self) -> None:
        heat = RANDOM.normal(size=(20, 30)).astype(np.float32)
        density = RANDOM.random((20, 30)).astype(np.float32)
        points = np.column_stack([RANDOM.random((9, 2)) * (20, 30), np.ones(9)])
        scores = Gaze(grid=5, top=6).measure(case(heat, gaze(7 * density), points=points))
        wide = heat.astype(np.float64)
        assert scores["correlation"] == pytest.approx(pearsonr(wide.ravel(), density.ravel().astype(float)).statistic)
        at = zscore(wide, axis=None)[tuple(np.floor(points[:, :2]).astype(int).T)]
        assert scores["nss"] == pytest.approx(at.mean())
        assert scores["ecs"] == ecs(cells(density, 5), cells(heat, 5), 6)
        assert np.isnan([scores[f"ceiling_{name}"] for name in NAMES]).all()


class TestOracles:
    DENSITY = counted(RANDOM.random((12, 2)) * (30, 40), (30, 40), 3.0).total()
    POINTS = np.column_stack([np.argwhere(np.quantile(DENSITY, 0.97) < DENSITY) + 0.5, np.ones(36)])

    def measured(self, heat: Array) -> dict[str, float]:
        return Gaze().measure(case(heat, gaze(self.DENSITY), points=self.POINTS))

    def test_the_gaze_itself_is_best_and_its_inverse_worst(self) -> None:
        itself = self.measured(self.DENSITY)
        inverse = self.measured(self.DENSITY.max() - self.DENSITY)
        assert (itself["correlation"], inverse["correlation"]) == (pytest.approx(1), pytest.approx(-1))
        assert (itself["ecs"], inverse["ecs"]) == (1, 0)
        assert itself["kl"] == pytest.approx(0, abs=1e-5)
        rows = [self.measured(RANDOM.random((30, 40))) for _ in range(100)]
        for name in ("correlation", "nss", "ecs"):
            assert inverse[name] <= min(row[name] for row in rows) < itself[name]
            assert itself[name] > max(row[name] for row in rows)
        assert itself["kl"] < min(inverse["kl"], *(row["kl"] for row in rows))

    def test_random_heatmaps_reach_what_is_expected(self) -> None:
        rows = [self.measured(RANDOM.normal(size=(30, 40))) for _ in range(400)]
        for name in ("correlation", "nss", "ecs"):
            values = np.array([row[name] for row in rows])
            assert values.mean() == pytest.approx(Gaze().expected(name), abs=4 * values.std() / 20)
        assert Gaze().expected("kl") is None

    def test_scale_and_shift(self) -> None:
        heat = RANDOM.normal(size=(30, 40))
        original = self.measured(heat)
        rescaled = self.measured(4 * heat + 3)
        assert {name: original[name] for name in ("correlation", "nss", "ecs")} == pytest.approx(
            {name: rescaled[name] for name in ("correlation", "nss", "ecs")}, abs=1e-5
        )
        assert self.measured(4 * heat)["kl"] == pytest.approx(original["kl"], rel=1e-5)


class TestOddHeatmaps:
    def test_constant(self) -> None:
        density = RANDOM.random((20, 20))
        points = np.array([[5.0, 5.0, 1.0]])
        for value in (0.0, 0.1, -2.0):
            scores = Gaze().measure(case(np.full((20, 20), value), gaze(density), points=points))
            assert np.isnan([scores["correlation"], scores["nss"]]).all()
            assert scores["ecs"] == pytest.approx(0.15)
            assert np.isnan(scores["kl"]) == (value <= 0)

    def test_negative_heat_is_no_heat(self) -> None:
        density = RANDOM.random((8, 8))
        heat = RANDOM.normal(size=(8, 8))
        metric = Gaze(grid=4, top=2)
        divergence = metric.measure(case(heat, gaze(density)))["kl"]
        assert divergence == pytest.approx(metric.measure(case(np.maximum(heat, 0), gaze(density)))["kl"])
        assert np.isfinite(divergence)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, bad: float) -> None:
        heat = RANDOM.random((8, 8))
        heat[2, 3] = bad
        scores = Gaze(grid=4, top=2).measure(case(heat, gaze(RANDOM.random((8, 8)))))
        assert np.isnan(list(scores.values())).all()

    def test_nothing_recorded(self) -> None:
        heat = RANDOM.random((8, 8))
        with pytest.raises(Undefined, match="no gaze was recorded"):
            Gaze().measure(case(heat, gaze(heat, finding="other")))
        with pytest.raises(Undefined, match="no gaze lies on the image"):
            Gaze().measure(case(heat, gaze(np.zeros((8, 8)))))
        assert np.isnan(Gaze(grid=2, top=1).measure(case(heat, gaze(heat)))["nss"]), "no points are known"

    def test_another_grid_is_refused(self) -> None:
        heat = RANDOM.random((8, 8))
        sample = Sample("one", np.zeros((1, 4, 4), dtype=np.float32), (gaze(heat[:4, :4]),))
        with pytest.raises(DataError, match=r"\(8, 8\).*\(4, 4\)"):
            Gaze().measure(Case(sample, heatmap=Heatmap(heat)))


class TestReaders:
    MAPS: ClassVar = {name: RANDOM.random((12, 12)) ** 4 for name in ("a", "b", "c")}
    POINTS = np.column_stack([RANDOM.random((9, 2)) * 12, np.ones(9)])
    HEAT = RANDOM.normal(size=(12, 12)).astype(np.float32).astype(float)

    def measured(self, readers: Any, *names: str, **scales: float) -> dict[str, float]:
        annotations = [gaze(self.MAPS[name] * scales.get(name, 1), name) for name in names]
        known = np.isin(list("aaabbbccc"), names)
        points = self.POINTS[known]
        owners = np.array(list("aaabbbccc"))[known]
        return Gaze(readers=readers, grid=4, top=3).measure(
            case(self.HEAT, *annotations, points=points, readers=owners)
        )

    def single(self, density: Array) -> float:
        return float(pearsonr(self.HEAT.ravel(), density.ravel()).statistic)

    def test_together(self) -> None:
        normal = np.stack([values / values.sum() for values in self.MAPS.values()])
        expected = {"mean": normal.mean(0), "union": normal.max(0), "majority": np.median(normal, axis=0)}
        for readers, density in expected.items():
            scores = self.measured(readers, "a", "b", "c")
            assert scores["correlation"] == pytest.approx(self.single(density), abs=1e-6)
            assert scores["nss"] == pytest.approx(
                zscore(self.HEAT, axis=None)[tuple(self.POINTS[:, :2].astype(int).T)].mean()
            )
        both = self.measured("majority", "a", "b")["correlation"]
        assert both == pytest.approx(self.single(normal[:2].min(0)), abs=1e-6)

    def test_each(self) -> None:
        alone = [self.measured("mean", name) for name in "abc"]
        scores = self.measured("each", "a", "b", "c")
        for name in NAMES:
            assert scores[name] == pytest.approx(np.mean([row[name] for row in alone]))

    def test_long_readings_count_like_short_ones(self) -> None:
        assert self.measured("mean", "a", "b", a=50.0) == pytest.approx(self.measured("mean", "a", "b"), rel=1e-5)

    def test_the_ceiling(self) -> None:
        scores = self.measured("mean", "a", "b", "c")
        normal = {name: values / values.sum() for name, values in self.MAPS.items()}
        rows = []
        for name, density in normal.items():
            others = [values for other, values in normal.items() if other != name]
            points = self.POINTS[np.array(list("aaabbbccc")) != name][:, :2].astype(int)
            rows.append((
                pearsonr(density.ravel(), np.mean(others, axis=0).ravel()).statistic,
                divergence(np.mean(others, axis=0), density, 1e-6),
                zscore(density, axis=None)[tuple(points.T)].mean(),
                ecs(cells(np.mean(others, axis=0), 4), cells(density, 4), 3),
            ))  # fmt: skip
        assert [scores[f"ceiling_{name}"] for name in NAMES] == pytest.approx(np.mean(rows, axis=0), rel=1e-5)
        same = Gaze(grid=4, top=3).measure(case(self.HEAT, *(gaze(self.MAPS["a"], name) for name in "xyz")))
        assert (same["ceiling_correlation"], same["ceiling_ecs"]) == pytest.approx((1, 1))
        assert same["ceiling_kl"] == pytest.approx(0, abs=1e-5)

    def test_a_reader_without_gaze_on_the_image_is_left_out(self) -> None:
        empty = gaze(np.zeros((12, 12)), "b")
        scores = Gaze(readers="each", grid=4, top=3).measure(case(self.HEAT, gaze(self.MAPS["a"], "a"), empty))
        assert scores["correlation"] == pytest.approx(self.single(self.MAPS["a"]), abs=1e-6)
        assert np.isnan(scores["ceiling_correlation"])


class TestGeometry:
    @pytest.mark.parametrize("fit", ["stretch", "pad"])
    def test_fixations_follow_the_image(self, fit: Any) -> None:
        image = np.zeros((1, 60, 90), dtype=np.uint8)
        image[0, 40:44, 60:66] = 255
        points = np.array([[42.0, 63.0, 0.3], [41.2, 61.0, 0.3], [-50.0, 5.0, 0.1]])
        density = counted(points[:2, :2], (60, 90), 3.0).total()
        sample = Sample(
            "one", image, (gaze(density),), geometry=Geometry.identity((60, 90)), extras={"fixations": points}
        )
        prepared = Resize(size=15, fit=fit)(sample)
        scores = Gaze(grid=5, top=2).measure(Case(prepared, heatmap=Heatmap(prepared.image[0])))
        hottest = zscore(prepared.image[0].astype(float), axis=None).max()
        assert scores["nss"] == pytest.approx(hottest)
        assert scores["nss"] > 5
        assert scores["correlation"] > 0.3


@pytest.mark.parametrize("wrong", [{"grid": 0}, {"top": 0}, {"epsilon": 0}, {"readers": "all"}, {"findings": ["gaze"]}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(HeatproofError, match=f"Gaze: .*{next(iter(wrong))}"):
        Gaze(**wrong)
