"""The ECS metric as the runner uses it: weights from masks, findings, exclusions and errors."""

import pickle
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof.errors import DataError, HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.records import Annotation, Heatmap, Sample
from heatproof_ecs.ecs import Ecs

Array = NDArray[Any]

WEIGHTS = {"haemorrhages": 1, "hard_exudates": 1.05, "soft_exudates": 5.77, "microaneurysms": 46.97}
PIXELS = {
    "haemorrhages": [(0, 0), (0, 1), (1, 0), (1, 1)],
    "hard_exudates": [(0, 2), (0, 3), (1, 2)],
    "soft_exudates": [(3, 0)],
    "microaneurysms": [(3, 3)],
}
HEAT = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]


def sample(masks: dict[str, Array], id: str = "one") -> Sample:
    shape = next((mask.shape for mask in masks.values()), (4, 4))
    annotations = tuple(Annotation(finding, mask) for finding, mask in masks.items())
    return Sample(id, np.zeros((3, *shape), dtype=np.float32), annotations)


def drawn(pixels: dict[str, list[tuple[int, int]]]) -> dict[str, Array]:
    masks = {finding: np.zeros((4, 4), dtype=np.float32) for finding in pixels}
    for finding, positions in pixels.items():
        for position in positions:
            masks[finding][position] = 1
    return masks


def case(masks: dict[str, Array], heat: Any = HEAT) -> Case:
    return Case(sample(masks), heatmap=Heatmap(np.array(heat, dtype=np.float32)))


class TestMeasure:
    @pytest.mark.parametrize(
        ("top", "ties", "combined"),
        [(1, "expected", 1), (2, "expected", 1 / 2), (3, "expected", 5 / 6), (3, "stable", 2 / 3), (4, "expected", 1)],
    )
    def test_four_lesions(self, top: int, ties: str, combined: float) -> None:
        metric = Ecs(grid=2, top=top, ties=ties, weights=WEIGHTS)
        assert metric.measure(case(drawn(PIXELS)))["combined"] == pytest.approx(combined)

    def test_further_grids_and_tops(self) -> None:
        """Each further measure equals the score of an Ecs with these settings; K / S² is expected by chance."""
        masks = {name: np.kron(mask, np.ones((3, 3), dtype=np.float32)) for name, mask in drawn(PIXELS).items()}
        example = case(masks, np.random.default_rng(0).random((12, 12)))
        metric = Ecs(grid=2, top=2, grids=(3, 4), tops=(1, 3), weights=WEIGHTS)
        scores = metric.measure(example)
        measures = {(grid, top): f"combined S={grid} K={top}" for grid, top in product((2, 3, 4), (2, 1, 3))}
        measures[2, 2] = "combined"
        assert set(scores) == {*PIXELS, *measures.values()}
        for (grid, top), measure in measures.items():
            alone = Ecs(grid=grid, top=top, weights=WEIGHTS)
            assert scores[measure] == pytest.approx(alone.measure(example)["combined"], abs=1e-12)
            assert metric.expected(measure) == alone.expected("combined") == min(1, top / grid**2)

    def test_several_readers(self) -> None:
        """By default the union of the masks counts; ``each`` averages scores, ``majority`` takes what most marked."""
        positions = ([(0, 0)], [(0, 0), (3, 3)], [(3, 3), (3, 0)])
        annotations = tuple(
            Annotation("haemorrhages", drawn({"a": pixels})["a"], reader=f"reader{number}")
            for number, pixels in enumerate(positions)
        )
        several = Case(replace(sample({}), annotations=annotations), heatmap=Heatmap(np.array(HEAT, dtype=np.float32)))

        def score(readers: str) -> float:
            metric = Ecs(grid=2, top=2, ties="stable", weights={"haemorrhages": 1}, readers=readers)
            return metric.measure(several)["combined"]

        metric = Ecs(grid=2, top=2, ties="stable", weights={"haemorrhages": 1})
        alone = [metric.measure(case(drawn({"haemorrhages": pixels}))) for pixels in positions]
        assert score("each") == pytest.approx(np.mean([row["combined"] for row in alone]))
        assert (score("union"), score("majority"), score("each")) == (0.5, 1.0, pytest.approx(5 / 6))

    def test_a_density_is_no_lesion(self) -> None:
        gaze = Annotation("gaze", np.ones((4, 4), dtype=np.float32), "density")
        looked = replace(sample({}), annotations=(gaze,))
        with pytest.raises(Undefined, match="only densities are annotated"):
            Ecs(weights=WEIGHTS).measure(Case(looked, heatmap=Heatmap(np.array(HEAT, dtype=np.float32))))

    def test_each_lesion_alone(self) -> None:
        """DH = [[3, 0], [0, 4]] has its two largest cells at the haemorrhages and the microaneurysm."""
        scores = Ecs(grid=2, top=2, weights=WEIGHTS).measure(case(drawn(PIXELS)))
        assert scores == {
            "combined": 0.5,
            "haemorrhages": 1,
            "hard_exudates": 0,
            "soft_exudates": 0,
            "microaneurysms": 1,
        }

    def test_whole_against_a_plain_implementation(self) -> None:
        generator = np.random.default_rng(0)
        metric = Ecs(grid=4, top=5, weights=WEIGHTS)
        for _ in range(30):
            masks = {finding: (generator.random((20, 16)) > 0.99).astype(np.float32) for finding in WEIGHTS}
            heat = generator.normal(size=(20, 16)).astype(np.float32)
            pixels = sum(WEIGHTS[finding] * mask.astype(float) for finding, mask in masks.items())
            lesion, heated = (
                {(i, j): values[5 * i : 5 * i + 5, 4 * j : 4 * j + 4].sum() for i in range(4) for j in range(4)}
                for values in (pixels, heat.astype(float))
            )
            count = min(5, sum(mass > 1e-9 for mass in lesion.values()))
            order = sorted(lesion, key=lambda cell: -lesion[cell])
            if count < len(order) and abs(lesion[order[count - 1]] - lesion[order[count]]) < 1e-9:
                continue
            hottest = sorted(heated, key=lambda cell: -heated[cell])[:5]
            expected = len(set(order[:count]) & set(hottest)) / count
            assert metric.measure(case(masks, heat))["combined"] == pytest.approx(expected)

    @pytest.mark.parametrize("factor", [2, 0.37, 1e6])
    def test_only_ratios_of_weights_count(self, factor: float) -> None:
        generator = np.random.default_rng(1)
        scaled = {finding: factor * weight for finding, weight in WEIGHTS.items()}
        for _ in range(20):
            masks = {finding: (generator.random((21, 17)) > 0.97).astype(np.float32) for finding in WEIGHTS}
            example = case(masks, generator.normal(size=(21, 17)))
            assert Ecs(weights=scaled).measure(example) == pytest.approx(Ecs(weights=WEIGHTS).measure(example))

    def test_readers_are_united(self) -> None:
        left, right = np.zeros((2, 4, 4), dtype=np.float32)
        left[0, 0] = 1
        right[3, 3] = 1
        both = Sample(
            "one",
            np.zeros((3, 4, 4)),
            (Annotation("lesion", left, reader="a"), Annotation("lesion", right, reader="b")),
        )
        metric = Ecs(grid=2, top=2, weights={"lesion": 1})
        assert metric.measure(Case(both, heatmap=Heatmap(left + right)))["combined"] == 1

    def test_the_annotation_itself_scores_best_and_its_inverse_worst(self) -> None:
        mask = np.zeros((20, 20), dtype=np.float32)
        mask[4:10, 4:8] = 1
        metric = Ecs(top=6, weights={"lesion": 1})
        assert metric.measure(case({"lesion": mask}, mask))["combined"] == 1
        assert metric.measure(case({"lesion": mask}, -mask))["combined"] == 0

    @pytest.mark.parametrize(("partition", "combined"), [("area", 1 / 2), ("floor", 1)])
    def test_partition_of_five_pixels_in_two(self, partition: str, combined: float) -> None:
        """The lesion pixel in the middle lies in all four cells by area, in the last one by its corner."""
        mask, heat = np.zeros((2, 5, 5), dtype=np.float32)
        mask[2, 2] = 1
        heat[0, 0] = 3
        heat[0, 4] = 1
        heat[4, 4] = 2
        metric = Ecs(grid=2, top=2, partition=partition, weights={"lesion": 1}, ties="stable")
        assert metric.measure(case({"lesion": mask}, heat))["combined"] == combined

    def test_nan_in_the_heatmap(self) -> None:
        heat = np.array(HEAT, dtype=np.float32)
        heat[3, 0] = np.nan
        scores = Ecs(grid=2, top=2, weights=WEIGHTS).measure(case(drawn(PIXELS), heat))
        assert len(scores) == 5
        assert np.isnan(list(scores.values())).all()

    def test_another_grid_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"\(2, 2\).*\(4, 4\)"):
            Ecs(weights=WEIGHTS).measure(case(drawn(PIXELS), [[1, 2], [3, 4]]))


class TestFindings:
    def test_absent_is_nan_and_unexamined_is_left_out(self) -> None:
        masks = drawn({"haemorrhages": [(0, 0)], "hard_exudates": []})
        scores = Ecs(grid=2, top=2, weights=WEIGHTS).measure(case(masks))
        assert set(scores) == {"combined", "haemorrhages", "hard_exudates"}
        assert np.isnan(scores["hard_exudates"])
        assert scores["combined"] == scores["haemorrhages"] == 1

    def test_nothing_to_find(self) -> None:
        metric = Ecs(grid=2, top=2, weights=WEIGHTS)
        with pytest.raises(Undefined, match="examined and absent: haemorrhages, hard_exudates"):
            metric.measure(case(drawn({"haemorrhages": [], "hard_exudates": []})))
        with pytest.raises(Undefined, match="no finding was examined"):
            metric.measure(case({}))

    def test_the_optic_disc_is_no_lesion(self) -> None:
        masks = drawn({"haemorrhages": [(0, 0)], "optic_disc": [(3, 3)]})
        assert "optic_disc" not in Ecs(grid=2, top=1, weights=WEIGHTS).measure(case(masks))
        with pytest.raises(Undefined, match="no finding was examined"):
            Ecs(weights=WEIGHTS).measure(case({"optic_disc": masks["optic_disc"]}))
        disc = Ecs(grid=2, top=1, weights={"optic_disc": 1}, findings=["optic_disc"]).measure(case(masks))
        assert disc == {"combined": 1, "optic_disc": 1}

    def test_chosen_findings_only(self) -> None:
        scores = Ecs(grid=2, top=1, weights=WEIGHTS, findings=("soft_exudates", "unknown")).measure(case(drawn(PIXELS)))
        assert scores == {"combined": 0, "soft_exudates": 0}
        with pytest.raises(Undefined, match="no finding was examined"):
            Ecs(weights=WEIGHTS, findings=("nodule",)).measure(case(drawn(PIXELS)))


class TestWeights:
    def test_open_until_counted(self) -> None:
        metric = Ecs()
        assert metric.open == ("weights",)
        with pytest.raises(DataError, match="not counted yet"):
            metric.measure(case(drawn(PIXELS)))
        assert metric.fit([sample(drawn(PIXELS))]).open == ()
        assert Ecs(weights=WEIGHTS).open == ()

    def test_counted_from_masks(self) -> None:
        fitted = Ecs(grid=2).fit([sample(drawn(PIXELS))])
        assert fitted.params.weights == {
            "haemorrhages": 1,
            "hard_exudates": 4 / 3,
            "soft_exudates": 4,
            "microaneurysms": 4,
        }
        assert fitted.params.grid == 2

    def test_published_weights_are_those_of_the_paper(self) -> None:
        listed = {"haemorrhages": 1, "hard_exudates": 1.05, "soft_exudates": 5.77, "microaneurysms": 46.97}
        example = case(drawn(PIXELS))
        published = Ecs(grid=2, top=2, weights="published")
        assert published.measure(example) == Ecs(grid=2, top=2, weights=listed).measure(example)
        assert published.open == ()
        assert published.names() == {"findings": ()}
        with pytest.raises(DataError, match="no weight for 'nodule'"):
            published.measure(case({"nodule": drawn(PIXELS)["haemorrhages"]}))

    def test_shares_of_the_paper_give_its_weights(self) -> None:
        """Shares of 47, 44, 8 and 1 % of the lesion pixels: 1, 1.07, 5.9 and 47."""
        pixels = dict(zip(WEIGHTS, (47, 44, 8, 1)))
        masks = {finding: (np.arange(100) < count).reshape(10, 10) for finding, count in pixels.items()}
        fitted = Ecs().fit([sample(masks)]).params.weights
        assert [round(fitted[finding], 2) for finding in WEIGHTS] == [1, 1.07, 5.88, 47]

    def test_area_coverage_over_several_samples_in_any_order(self) -> None:
        generator = np.random.default_rng(0)
        samples = [sample({"a": generator.random((6, 6)), "b": generator.random((6, 6)) / 9}, f"{n}") for n in range(7)]
        samples.append(sample({"b": generator.random((6, 6)).astype(np.float32)}))
        totals = {"a": 0.0, "b": 0.0}
        for item in samples:
            for annotation in item.annotations:
                for value in annotation.values.ravel():
                    totals[annotation.finding] += float(value)
        weights = Ecs().fit(iter(samples)).params.weights
        assert weights == pytest.approx({finding: max(totals.values()) / total for finding, total in totals.items()})
        assert Ecs().fit(samples[::-1]).params.weights == weights

    def test_a_finding_never_seen_has_no_weight_and_is_refused(self) -> None:
        fitted = Ecs(grid=2, top=1).fit([sample(drawn({"haemorrhages": [(0, 0)], "soft_exudates": []}))])
        assert fitted.params.weights == {"haemorrhages": 1}
        assert fitted.measure(case(drawn({"haemorrhages": [(0, 0)], "soft_exudates": []})))["haemorrhages"] == 0
        with pytest.raises(DataError, match=r"no weight for 'soft_exudates'.*only for haemorrhages"):
            fitted.measure(case(drawn({"soft_exudates": [(0, 0)]})))

    def test_nothing_to_count(self) -> None:
        with pytest.raises(DataError, match="all masks are empty"):
            Ecs().fit([sample(drawn({"haemorrhages": []}))])

    def test_the_optic_disc_is_not_counted(self) -> None:
        masks = drawn({"haemorrhages": [(0, 0)], "optic_disc": [(3, 3), (3, 2)]})
        assert Ecs().fit([sample(masks)]).params.weights == {"haemorrhages": 1}

    def test_given_weights_stay(self) -> None:
        metric = Ecs(weights={"a": 2})
        assert metric.fit([sample(drawn(PIXELS))]).params.weights == {"a": 2}


class TestComponent:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"grid": 0},
            {"top": 0},
            {"weights": {"a": 0}},
            {"weights": {"a": float("inf")}},
            {"weights": "mask"},
            {"partition": "areas"},
            {"ties": "random"},
            {"stride": 2},
        ],
    )
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"Ecs: .*{next(iter(wrong))}"):
            Ecs(**wrong)

    def test_weights_enter_the_identity(self) -> None:
        first = Ecs().fit([sample(drawn(PIXELS))])
        assert len({Ecs().identity, first.identity, Ecs(weights=WEIGHTS).identity}) == 3
        assert pickle.loads(pickle.dumps(first)).identity == first.identity

    @pytest.mark.parametrize(("top", "grid", "expected"), [(15, 10, 0.15), (10, 10, 0.1), (5, 2, 1)])
    def test_expected(self, top: int, grid: int, expected: float) -> None:
        assert Ecs(top=top, grid=grid).expected("combined") == pytest.approx(expected)
