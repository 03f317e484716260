"""The metrics of localization as the runner uses them: findings, readers, boxes, exclusions and errors."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof.errors import DataError, HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.records import Annotation, Heatmap, Sample
from heatproof.testing import conforms
from heatproof_lesions.readings import readings
from heatproof_localization.iou import Iou
from heatproof_localization.localization import Localization
from heatproof_localization.pointing import Pointing
from heatproof_localization.relevance import RelevanceMass, RelevanceRank

Array = NDArray[Any]
ALL: list[Localization] = [Pointing(), RelevanceMass(), RelevanceRank(), Iou(level=0.1)]


def drawn(*pixels: tuple[int, ...], shape: tuple[int, ...] = (6, 9)) -> Array:
    values = np.zeros(shape, dtype=np.float32)
    for position in pixels:
        values[position] = 1
    return values


def case(heat: Any, *annotations: Annotation) -> Case:
    heat = np.asarray(heat, dtype=np.float32)
    return Case(Sample("one", np.zeros((3, *heat.shape), dtype=np.float32), annotations), heatmap=Heatmap(heat))


def marked(values: Array, finding: str = "lesion", **more: Any) -> Annotation:
    return Annotation(finding, values, **more)


@conforms(
    Pointing(), Pointing(tolerance=3, covered=0), RelevanceMass(), RelevanceMass(sign="absolute"),
    RelevanceMass(sign="signed"), RelevanceRank(readers="mean"), Iou(),
    Iou(threshold="range", level="tuned", shape="box"),
    RelevanceRank(top=5, weighted=True, human="other"), RelevanceMass(weighted=True),
    Iou(threshold="maximum", level=0.2, shape="box"), Iou(threshold="absolute", level=0.9, readers="each"),
)  # fmt: skip
def test_conformance(check):
    check()


class TestOracles:
    AREA = np.zeros((20, 27), dtype=np.float32)
    AREA[4:10, 15:24] = 1

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_the_mask_itself_is_best_and_its_inverse_worst(self, metric: Localization) -> None:
        assert metric.measure(case(self.AREA, marked(self.AREA)))["combined"] == pytest.approx(1)
        assert metric.measure(case(1 - self.AREA, marked(self.AREA)))["combined"] == 0

    @pytest.mark.parametrize(
        ("metric", "chance"),
        [
            *((metric, 0.1) for metric in ALL[:3]), (RelevanceRank(top=30), 0.1), (RelevanceMass(weighted=True), 1),
            (RelevanceRank(top=30, weighted=True), 1),
        ],
    )  # fmt: skip
    def test_random_heatmaps_reach_chance(self, metric: Localization, chance: float) -> None:
        generator = np.random.default_rng(0)
        rows = [metric.measure(case(generator.random((20, 27)), marked(self.AREA))) for _ in range(400)]
        values = np.array([row["combined"] for row in rows])
        assert [row["chance"] for row in rows] == pytest.approx([chance] * 400)
        assert values.mean() == pytest.approx(chance, abs=4 * values.std() / np.sqrt(400))

    def test_chance_of_what_the_tolerance_accepts(self) -> None:
        generator = np.random.default_rng(1)
        metric = Pointing(tolerance=2.5)
        area = drawn((3, 4))
        rows = [metric.measure(case(generator.random((6, 9)), marked(area))) for _ in range(400)]
        assert rows[0]["chance"] == pytest.approx(21 / 54)
        assert np.mean([row["combined"] for row in rows]) == pytest.approx(21 / 54, abs=0.1)

    def test_chance_only_where_it_is_known(self) -> None:
        for metric in (RelevanceMass(sign="signed"), Iou()):
            assert metric.measure(case(self.AREA, marked(self.AREA))).keys() == {"combined", "lesion"}

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_axes_are_not_swapped_and_volumes_work(self, metric: Localization) -> None:
        generator = np.random.default_rng(2)
        heat = generator.random((4, 5, 6))
        area = generator.random((4, 5, 6)) > 0.8
        turned = (2, 0, 1)
        scores = metric.measure(case(heat, marked(area.astype(np.float32))))
        other = metric.measure(case(heat.transpose(turned), marked(area.transpose(turned).astype(np.float32))))
        assert scores == pytest.approx(other)
        assert 0 < scores["combined"] <= 1

    def test_scale_and_sign(self) -> None:
        """Only ``relevance_mass`` depends on the sign; no metric depends on the scale of the values."""
        heat = np.random.default_rng(3).normal(size=self.AREA.shape)
        for metric in (*ALL, Iou(threshold="maximum", level=0.5, shape="box")):
            original, rescaled = (metric.measure(case(factor * heat, marked(self.AREA))) for factor in (1, 4))
            assert original == pytest.approx(rescaled)


class TestWeighted:
    """The share of the relevance over the share of the image, finding by finding (Kohlbrenner et al. 2020)."""

    def test_relevance_mass(self) -> None:
        heat = drawn((1, 1), (1, 2), (4, 4)) - drawn((5, 8))
        annotations = marked(drawn((1, 1)), "a"), marked(drawn((4, 4), (5, 5)), "b")
        scores = RelevanceMass(weighted=True).measure(case(heat, *annotations))
        assert scores == pytest.approx({"combined": 2 / 3 * 54 / 3, "a": 1 / 3 * 54, "b": 1 / 3 * 54 / 2, "chance": 1})

    def test_relevance_rank(self) -> None:
        heat = 2 * drawn((1, 1)) + drawn((1, 2), (4, 4))
        annotations = marked(drawn((1, 1)), "a"), marked(drawn((4, 4), (5, 5)), "b")
        scores = RelevanceRank(top=2, weighted=True).measure(case(heat, *annotations))
        assert scores == pytest.approx({"combined": 3 / 4 * 54 / 3, "a": 1 / 2 * 54, "b": 1 / 4 * 54 / 2, "chance": 1})

    def test_more_pixels_than_there_are(self) -> None:
        with pytest.raises(DataError, match="counts the 54 hottest pixels; the heatmap has 54: lower top"):
            RelevanceRank(top=54).measure(case(drawn((1, 1)), marked(drawn((1, 1)))))


class TestTuned:
    """The threshold of each finding is the one with the largest mean score over the cases of the tuning split."""

    METRIC = Iou(threshold="range", level="tuned")
    LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

    def cases(self, seed: int, findings: str = "ab") -> list[Case]:
        generator = np.random.default_rng(seed)
        space = (12, 12)
        cases = []
        for number in range(6):
            areas = {finding: (generator.random(space) > 0.7).astype(np.float32) for finding in findings}
            areas["a"] *= number % 3 > 0
            heat = generator.random(space) + sum(generator.random() * area for area in areas.values())
            cases.append(case(heat, *(marked(area, finding) for finding, area in areas.items())))
        return cases

    def test_as_in_chexlocalize(self) -> None:
        """Saporta et al. 2022 scale heatmaps to 0…1 and take the mean over the cases that show the finding."""
        cases = self.cases(0)
        tuned = self.METRIC.tune(iter(cases)).params.level
        assert tuned.keys() == {"a", "b", "combined"}
        for name, level in tuned.items():
            means = []
            for threshold in self.LEVELS:
                scores = []
                for example in cases:
                    heat = example.heatmap.values
                    hot = (heat - heat.min()) / (heat.max() - heat.min()) >= threshold
                    areas = [
                        part.values > 0 for part in example.sample.annotations if name in (part.finding, "combined")
                    ]
                    area = np.logical_or.reduce(areas)
                    if area.any():
                        scores.append((hot & area).sum() / (hot | area).sum())
                means.append(np.mean(scores))
            assert level == self.LEVELS[int(np.argmax(means))]
        assert len({*tuned.values()}) > 1
        assert self.METRIC.with_(human="second").tune(cases).params.level == tuned

    def test_each_finding_is_scored_by_its_threshold(self) -> None:
        levels = {"a": 0.3, "b": 0.8, "combined": 0.5}
        example = self.cases(1)[-1]
        scores = Iou(threshold="range", level=levels).measure(example)
        for name, level in levels.items():
            assert scores[name] == Iou(threshold="range", level=level).measure(example)[name]

    def test_of_equals_the_least_and_nothing_twice(self) -> None:
        heat = drawn((1, 1))
        tuned = Iou(threshold="range", level="tuned", levels=(0.9, 0.4, 0.6)).tune([case(heat, marked(heat))])
        assert tuned.params.level == {"lesion": 0.4, "combined": 0.4}
        assert (tuned.untuned, self.METRIC.untuned) == ((), ("level",))
        assert tuned.tune([]) is tuned

    def test_what_cannot_be_tuned_or_was_not(self) -> None:
        nothing = case(drawn((1, 1)), marked(drawn()))
        with pytest.raises(DataError, match="no case shows a finding, so there is nothing to tune level on"):
            self.METRIC.tune([nothing])
        with pytest.raises(DataError, match="level is not tuned yet"):
            self.METRIC.measure(case(drawn((1, 1)), marked(drawn((1, 1)))))
        tuned = self.METRIC.tune(self.cases(2))
        with pytest.raises(DataError, match=r"no level for 'c', which this case shows \(only for combined, b, a\)"):
            tuned.measure(case(drawn((1, 1)), marked(drawn((1, 1)), "c")))
        assert tuned.names() == {"findings": ["b", "a"], "readers": []}

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"level": {"a": 0.5}}, "level lists no value for 'combined'"),
            ({"level": {"combined": 1.5}}, "must be at most 1"),
            ({"level": "tuned", "levels": (0.5, 2)}, "must be at most 1"),
            ({"level": "otsu"}, "level"),
            ({"level": {}}, "level"),
        ],
    )
    def test_wrong_levels(self, wrong: dict[str, Any], reason: str) -> None:
        with pytest.raises(HeatproofError, match=f"Iou: .*{reason}"):
            Iou(threshold="range", **wrong)


class TestHuman:
    """The annotations of one reader do not count; they are scored as the heatmap is."""

    TRUTH = drawn((1, 1), (1, 2), (4, 4), (4, 5))
    SECOND = drawn((1, 1), (1, 2), (1, 3))

    def measured(self, metric: Localization, *annotations: Annotation) -> dict[str, float]:
        return metric.measure(case(drawn((4, 4)), *(annotations or self.annotations(self.SECOND))))

    def annotations(self, second: Array) -> list[Annotation]:
        return [marked(self.TRUTH, reader="first"), marked(second, reader="second")]

    @pytest.mark.parametrize(
        ("metric", "score"),
        [(Pointing, 2 / 3), (RelevanceMass, 2 / 3), (RelevanceRank, 2 / 4 + 1 / 4 * 2 / 51), (Iou, 2 / 5)],
    )
    def test_a_mask_is_scored_by_the_same_metric(self, metric: Any, score: float) -> None:
        scores = self.measured(metric(human="second"))
        assert scores["human"] == scores["human lesion"] == pytest.approx(score)
        without = metric().measure(case(drawn((4, 4)), marked(self.TRUTH, reader="first")))
        assert {name: value for name, value in scores.items() if not name.startswith("human")} == without
        assert metric(human="second").benchmarks == {"human": "human benchmark (second)"}
        assert metric().benchmarks == {}

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_the_bounds_of_the_benchmark(self, metric: Localization) -> None:
        metric = metric.with_(human="second")
        assert self.measured(metric, *self.annotations(self.TRUTH))["human"] == pytest.approx(1)
        assert self.measured(metric, *self.annotations(drawn()))["human"] == 0
        assert self.measured(metric, *self.annotations(drawn((0, 8))))["human"] == pytest.approx(0, abs=0.06)

    @pytest.mark.parametrize("coverage", [1, 0.01])
    def test_a_point_hits_or_misses(self, coverage: float) -> None:
        """A point of an original image covers a small share of a pixel of the grid."""
        for pixel, hit in (((4, 5), 1), ((3, 5), 0)):
            annotations = self.annotations(coverage * drawn(pixel))
            assert self.measured(Pointing(human="second"), *annotations)["human"] == hit
        annotations = self.annotations(coverage * drawn((3, 5)))
        assert self.measured(Pointing(human="second", tolerance=1.5), *annotations)["human"] == 1

    def test_findings_that_the_reader_did_not_look_for(self) -> None:
        annotations = *self.annotations(self.SECOND), marked(drawn((0, 0)), "other", reader="first")
        scores = self.measured(RelevanceMass(human="second"), *annotations)
        assert scores["human lesion"] == pytest.approx(2 / 3)
        assert np.isnan([scores["human"], scores["human other"]]).all()
        absent = marked(drawn(), "other", reader="second")
        scores = self.measured(RelevanceMass(human="second"), *annotations, absent)
        assert scores["human"] == pytest.approx(2 / 3)
        assert scores["human other"] == 0

    def test_each_of_the_others_is_compared_with(self) -> None:
        third = marked(drawn((1, 3)), reader="third")
        scores = self.measured(Iou(human="second", readers="each"), *self.annotations(self.SECOND), third)
        assert scores["human"] == pytest.approx((2 / 5 + 1 / 3) / 2)

    def test_only_the_benchmark_was_drawn(self) -> None:
        with pytest.raises(Undefined, match="no finding was examined"):
            self.measured(Iou(human="second"), marked(self.SECOND, reader="second"))


class TestFindings:
    def test_combined_and_each_by_itself(self) -> None:
        heat = drawn((1, 1), (1, 2), (4, 4))
        scores = RelevanceMass().measure(case(heat, marked(drawn((1, 1)), "a"), marked(drawn((4, 4), (5, 5)), "b")))
        assert scores == pytest.approx({"combined": 2 / 3, "a": 1 / 3, "b": 1 / 3, "chance": 3 / 54})

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_absent_is_nan_and_unexamined_is_left_out(self, metric: Localization) -> None:
        scores = metric.measure(case(drawn((1, 1)), marked(drawn((1, 1)), "a"), marked(drawn(), "b")))
        assert scores.keys() - {"chance"} == {"combined", "a", "b"}
        assert np.isnan(scores["b"])
        assert scores["combined"] == scores["a"]

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_nothing_to_find(self, metric: Localization) -> None:
        with pytest.raises(Undefined, match="examined and absent: a, b"):
            metric.measure(case(drawn((1, 1)), marked(drawn(), "a"), marked(drawn(), "b")))
        with pytest.raises(Undefined, match="no finding was examined"):
            metric.measure(case(drawn((1, 1)), marked(drawn((1, 1)), "optic_disc")))
        with pytest.raises(Undefined, match="only densities are annotated"):
            metric.measure(case(drawn((1, 1)), marked(drawn((1, 1)), "gaze", kind="density")))

    def test_anatomy_only_where_it_is_named(self) -> None:
        annotations = marked(drawn((1, 1)), "optic_disc"), marked(drawn((2, 2)), "a")
        assert "optic_disc" not in Pointing().measure(case(drawn((1, 1)), *annotations))
        scores = Pointing(findings=["optic_disc"]).measure(case(drawn((1, 1)), *annotations))
        assert scores["combined"] == scores["optic_disc"] == 1

    def test_boxes_are_masks_of_what_they_cover(self) -> None:
        left, right = (marked(drawn(*pixels), kind="box") for pixels in ([(1, 1), (1, 2)], [(4, 4), (4, 5)]))
        heat = drawn((1, 1), (1, 2), (4, 4), (4, 5))
        assert Iou(level=4 / 54).measure(case(heat, left, right))["lesion"] == pytest.approx(1)
        assert Iou(level=4 / 54).measure(case(heat, left))["lesion"] == pytest.approx(1 / 2)

    def test_a_lesion_below_half_a_pixel(self) -> None:
        heat = drawn((1, 1))
        small = 0.4 * drawn((1, 1))
        large = drawn((4, 4))
        assert Pointing().measure(case(heat, marked(small)))["combined"] == 1
        assert Pointing().measure(case(heat, marked(small + large)))["combined"] == 0
        assert Pointing(covered=0).measure(case(heat, marked(small + large)))["combined"] == 1
        assert Pointing().measure(case(heat, marked(small, "a"), marked(large, "b")))["combined"] == 1
        assert RelevanceMass().measure(case(heat, marked(small + large)))["combined"] == pytest.approx(0.4)


class TestReaders:
    ANNOTATIONS = (
        marked(drawn((1, 1), (2, 2)), reader="x"),
        marked(drawn((1, 1)), reader="y"),
        marked(drawn((1, 1), (5, 5)), reader="z"),
        marked(drawn((3, 3)), reader="z", kind="box"),
    )

    def counted(self, readers: Any, *annotations: Annotation) -> list[float]:
        united = readings(case(drawn(), *(annotations or self.ANNOTATIONS)).sample, None, readers)
        return [round(float(reading["lesion"].sum()), 6) for reading in united]

    def test_together_or_each(self) -> None:
        assert self.counted("union") == [4]
        assert self.counted("majority") == [1]
        assert self.counted("mean") == [2]
        assert self.counted("each") == [2, 1, 3]

    def test_majority_of_two_is_both_and_of_four_is_three(self) -> None:
        assert self.counted("majority", *self.ANNOTATIONS[:2]) == [1]
        fourth = marked(drawn((1, 1), (2, 2)), reader="w")
        assert self.counted("majority", *self.ANNOTATIONS, fourth) == [1]
        assert self.counted("majority", *self.ANNOTATIONS, fourth, marked(drawn((2, 2)), reader="v")) == [2]

    def test_the_mean_score_of_each(self) -> None:
        heat = drawn((2, 2), (5, 5))
        scores = [RelevanceMass().measure(case(heat, annotation))["lesion"] for annotation in self.ANNOTATIONS[:3]]
        together = RelevanceMass(readers="each").measure(case(heat, *self.ANNOTATIONS[:3]))
        assert together["lesion"] == together["combined"] == pytest.approx(np.mean(scores)) == pytest.approx(1 / 3)

    def test_a_reader_who_marks_nothing_has_no_score(self) -> None:
        nothing = marked(drawn(), reader="w"), marked(drawn(), "other", reader="w")
        scores = Pointing(readers="each").measure(case(drawn((1, 1)), self.ANNOTATIONS[0], *nothing))
        assert scores["combined"] == scores["lesion"] == 1
        with pytest.raises(Undefined, match="examined and absent: lesion, other"):
            Pointing(readers="each").measure(case(drawn((1, 1)), *nothing))

    def test_a_finding_that_one_reader_saw(self) -> None:
        annotations = self.ANNOTATIONS[0], self.ANNOTATIONS[1], marked(drawn((4, 4)), "other", reader="y")
        scores = RelevanceMass(readers="each").measure(case(drawn((4, 4), (2, 2)), *annotations))
        assert scores["lesion"] == pytest.approx(1 / 4)
        assert scores["other"] == pytest.approx(1 / 2)
        assert scores["combined"] == pytest.approx(1 / 2)


class TestRefusals:
    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_not_finite_and_another_grid(self, metric: Localization) -> None:
        heat = drawn((1, 1))
        heat[0, 0] = np.inf
        scores = metric.measure(case(heat, marked(drawn((1, 1)))))
        assert np.isnan(scores["combined"])
        odd = Case(case(heat, marked(drawn((1, 1)))).sample, heatmap=Heatmap(drawn(shape=(3, 3))))
        with pytest.raises(DataError, match=r"\(3, 3\).*\(6, 9\)"):
            metric.measure(odd)

    @pytest.mark.parametrize(
        ("kind", "wrong"),
        [
            (Pointing, {"tolerance": -1}),
            (Pointing, {"covered": 1.5}),
            (Pointing, {"readers": "all"}),
            (RelevanceMass, {"covered": 0.5}),
            (RelevanceMass, {"sign": "negative"}),
            (RelevanceRank, {"top": 0}),
            (Pointing, {"human": ""}),
            (Iou, {"level": 2}),
            (Iou, {"threshold": "otsu"}),
        ],
    )
    def test_wrong_settings(self, kind: type[Localization], wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"{kind.__name__}: .*{next(iter(wrong))}"):
            kind(**wrong)

    def test_an_absolute_level_may_exceed_1(self) -> None:
        assert Iou(threshold="absolute", level=40).expected("combined") is None
