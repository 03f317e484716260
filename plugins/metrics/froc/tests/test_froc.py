"""The FROC metric as the runner uses it: a small example, a plain implementation of every rule, exclusions, errors."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, gaussian_filter, generate_binary_structure, label

from heatproof.errors import DataError, HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.records import Annotation, Heatmap, Sample
from heatproof.results.intervals import summarise_cases
from heatproof.results.significance import paired_test
from heatproof.testing import conforms
from heatproof_froc.curve import RATES, sensitivity_at
from heatproof_froc.froc import Froc
from heatproof_froc.pooled import Pooled
from heatproof_froc.steps import RULES, lesions

Array = NDArray[Any]


def drawn(shape: tuple[int, ...], pixels: dict[tuple[int, ...], float]) -> Array:
    """An array of this shape with the values of some pixels, zero elsewhere."""
    values = np.zeros(shape, dtype=np.float32)
    for position, value in pixels.items():
        values[position] = value
    return values


def case(heat: Array, *masks: Array | Annotation) -> Case:
    """A case with this heatmap; a plain mask annotates the finding ``lesion``."""
    annotations = tuple(mask if isinstance(mask, Annotation) else Annotation("lesion", mask) for mask in masks)
    sample = Sample("one", np.zeros((3, *heat.shape), dtype=np.float32), annotations)
    return Case(sample, heatmap=Heatmap(heat.astype(np.float32)))


def table(metric: Froc, cases: list[Case]) -> dict[str, Array]:
    """The measurements of all cases by name, one row per case."""
    rows = [metric.measure(example) for example in cases]
    return {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}


def summary(metric: Froc, cases: list[Case]) -> dict[str, Array]:
    """The scores of all cases, each counted once."""
    return metric.summarise(table(metric, cases), np.ones((1, len(cases)), dtype=int))


FIRST = drawn((5, 5), {(0, 0): 9, (0, 1): 8, (1, 4): 3, (3, 0): 4, (3, 3): 6, (3, 4): 6})
SECOND = drawn((3, 3), {(1, 1): 5, (2, 2): 2})
EXAMPLE = [
    case(FIRST, drawn((5, 5), {(0, 1): 1, (3, 3): 1, (4, 4): 1})),
    case(SECOND, drawn((3, 3), {(0, 2): 1})),
]


@conforms(
    Froc(), Froc(cover=0.5, scale="quantile", connectivity=4), Froc(readers="each", interpolation="step", thresholds=7)
)
def test_conformance(check):
    check()


def at(row: dict[str, Any], threshold: float) -> Array:
    """The numbers of lesions hit and of false positives of a case whose heatmap is cut at ``threshold``."""
    count = np.count_nonzero(row["threshold"] >= threshold)
    if not count:
        return np.zeros(2)
    return np.array([row["overlap_hits"][count - 1], row["overlap_false_positives"][count - 1]])


class TestExample:
    @pytest.mark.parametrize(("connectivity", "count", "last"), [(8, 3, 1.5), (4, 4, 2)])
    def test_false_positives_by_connectivity(self, connectivity: int, count: int, last: float) -> None:
        rows = [Froc(connectivity=connectivity).measure(example) for example in EXAMPLE]
        assert sum(row["lesions"] for row in rows) == count
        states = np.array([sum(at(row, threshold) for row in rows) for threshold in (9, 8, 6, 5, 4, 3, 2)])
        assert states[:, 0].tolist() == [0, 1, 2, 2, 2, 2, 2]
        assert (states[:, 1] / 2).tolist() == [0.5, 0, 0, 0.5, 1, 1.5, last]
        assert sorted(set(np.concatenate([row["threshold"] for row in rows]))) == [2, 3, 4, 5, 6, 8, 9]

    def test_common_thresholds(self) -> None:
        """With 8 neighbours nothing changes at 2, where a pixel joins a region."""
        counts = np.ones((1, 2))
        curves = Pooled.from_measurements(table(Froc(), EXAMPLE), RULES, counts, points=50).curves(counts)
        false_positives, sensitivity = (curve[0, 0] for curve in curves[:2])
        assert false_positives.tolist() == [0, 0.5, 0, 0, 0.5, 1, 1.5]
        assert (3 * sensitivity).tolist() == pytest.approx([0, 0, 1, 2, 2, 2, 2])

    def test_scores_of_the_curve(self) -> None:
        scores = summary(Froc(), EXAMPLE)
        assert scores["at_0.125"][0] == pytest.approx(2 / 3)
        assert scores["overlap"][0] == pytest.approx(2 / 3)
        assert scores["extrapolated"][0] == pytest.approx(3 / 7)


def plain(
    heat: Array, mask: Array, threshold: float, connectivity: int, least_iou: float
) -> dict[str, tuple[int, int]]:
    """Count per rule the lesions hit and the false positives of one image at one threshold, region by region."""
    structure = generate_binary_structure(heat.ndim, {4: 1, 8: heat.ndim}[connectivity])
    lesion_numbers, _ = label(mask, structure)
    regions, count = label(heat >= threshold, structure)
    hits: dict[str, set[int]] = {rule: set() for rule in RULES}
    false_positives = dict.fromkeys(RULES, 0)
    for region in range(1, count + 1):
        inside = regions == region
        touched = set(lesion_numbers[inside].tolist()) - {0}
        centre = tuple(round(axis) for axis in center_of_mass(inside))
        peak = np.unravel_index(np.argmax(np.where(inside, heat, -np.inf)), heat.shape)
        similar = set()
        for number in touched:
            lesion = lesion_numbers == number
            if (inside & lesion).sum() >= least_iou * (inside | lesion).sum():
                similar.add(number)
        by_rule = [touched, {int(lesion_numbers[centre])} - {0}, similar, {int(lesion_numbers[peak])} - {0}]
        for rule, lesions_hit in zip(RULES, by_rule):
            hits[rule] |= lesions_hit
            false_positives[rule] += not lesions_hit
    return {rule: (len(hits[rule]), false_positives[rule]) for rule in RULES}


def noisy(seed: int, shape: tuple[int, ...] = (20, 23), levels: int = 0) -> tuple[Array, Array]:
    """A smooth random heatmap with more heat at lesions, and the mask of these; ``levels`` rounds the heat."""
    generator = np.random.default_rng(seed)
    heat = gaussian_filter(generator.normal(size=shape), 1).astype(np.float32)
    mask = (gaussian_filter(generator.normal(size=shape), 1) > 0.28).astype(np.float32)
    heat += 0.2 * gaussian_filter(mask, 1)
    if levels:
        heat = np.round(heat * levels)
    return heat.astype(np.float32), mask


class TestPlainImplementation:
    @pytest.mark.parametrize("connectivity", [4, 8])
    @pytest.mark.parametrize(("shape", "levels"), [((20, 23), 0), ((20, 23), 12), ((7, 8, 9), 0)])
    def test_every_threshold_and_rule(self, shape: tuple[int, ...], levels: int, connectivity: int) -> None:
        for seed in range(4):
            heat, mask = noisy(seed, shape, levels=levels)
            row = Froc(connectivity=connectivity, least_iou=0.2, thresholds=15).measure(case(heat, mask))
            assert row["lesions"] > 1
            for step, threshold in enumerate(row["threshold"]):
                for rule, expected in plain(heat, mask, threshold, connectivity, 0.2).items():
                    assert (row[f"{rule}_hits"][step], row[f"{rule}_false_positives"][step]) == expected

    @pytest.mark.slow
    def test_a_thousand_small_images(self) -> None:
        """Small images with few levels, where regions and lesions touch in every way, at every threshold."""
        for seed in range(1000):
            generator = np.random.default_rng(seed)
            heat = generator.integers(0, 4, (5, 5)).astype(np.float32)
            mask = (generator.random((5, 5)) < 0.3).astype(np.float32)
            heat[0, 0] = 4
            mask[4, 4] = 1
            row = Froc(least_iou=0.2).measure(case(heat, mask))
            for step, threshold in enumerate(row["threshold"]):
                for rule, expected in plain(heat, mask, threshold, 8, 0.2).items():
                    assert (row[f"{rule}_hits"][step], row[f"{rule}_false_positives"][step]) == expected, seed

    @pytest.mark.parametrize("interpolation", ["linear", "step"])
    def test_the_summary_of_several_images(self, interpolation: Any) -> None:
        """All thresholds of several images, some without lesions; each image is cut anew."""
        images = [noisy(seed, (13, 14)) for seed in range(5)]
        images[2][1][:] = 0
        metric = Froc(thresholds=400, cover=0.5, points=5000, interpolation=interpolation)
        scores = summary(metric, [case(*image) for image in images])
        assert scores["overlap"][0] > 0
        cuts = [hottest_values(heat, 0.5) for heat, _ in images]
        lesion_count = sum(label(mask, np.ones((3, 3)))[1] for _, mask in images)
        points = []
        for threshold in sorted({*np.concatenate(cuts)}):
            thresholds = [max(threshold, values.min()) for values in cuts]
            states = [plain(*image, level, 8, 0.5) for image, level in zip(images, thresholds)]
            points.append([np.sum([state[rule] for state in states], axis=0) for rule in RULES])
        hits, false_positives = np.moveaxis(np.array(points), 2, 0)
        per_image = false_positives / len(images)
        sensitivity = hits / lesion_count
        for index, rule in enumerate(RULES):
            expected = sensitivity_at(per_image[:, index], sensitivity[:, index], RATES, interpolation)
            np.testing.assert_allclose(scores[f"{rule}_curve"][0], expected, rtol=1e-10)
            assert scores[rule][0] == pytest.approx(expected.mean())
        assert [scores[f"at_{rate:g}"][0] for rate in RATES] == scores["overlap_curve"][0].tolist()

    def test_few_points_are_close_to_all(self) -> None:
        cases = [case(*noisy(seed, (40, 40))) for seed in range(12)]
        coarse, fine = (summary(Froc(points=points), cases)["overlap_curve"][0] for points in (128, 5000))
        assert np.abs(coarse - fine).max() < 0.02
        assert fine[-1] > 0.2


def hottest_values(heat: Array, cover: float) -> Array:
    """The thresholds, from the highest, at which at most the share ``cover`` of the pixels is hot."""
    values = np.unique(heat)[::-1]
    return np.array([value for value in values if (heat >= value).sum() <= int(cover * heat.size)])


class TestOracles:
    def test_the_annotation_itself_finds_everything_and_its_inverse_nothing(self) -> None:
        masks = [noisy(seed, (30, 30))[1] for seed in range(4)]
        itself, inverse = (summary(Froc(), [case(sign * mask, mask) for mask in masks]) for sign in (1, -1))
        assert [itself[rule][0] for rule in ("overlap", "iou", "peak")] == [1, 1, 1]
        assert [inverse[rule][0] for rule in RULES] == [0, 0, 0, 0]

    def test_the_hottest_pixel_of_random_heatmaps_hits_by_chance(self) -> None:
        generator = np.random.default_rng(0)
        mask = drawn((10, 10), dict.fromkeys([(row, column) for row in (2, 3) for column in (5, 6, 7)], 1))
        metric = Froc(thresholds=2)
        hits = [metric.measure(case(generator.random((10, 10)), mask))["peak_hits"][0] for _ in range(800)]
        share = float(mask.mean())
        assert share == pytest.approx(0.06)
        assert np.mean(hits) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 800))

    def test_a_heatmap_that_cannot_be_cut_finds_nothing(self) -> None:
        scores = summary(Froc(), [case(np.ones((8, 8)), drawn((8, 8), {(1, 1): 1}))])
        assert scores["overlap"][0] == 0
        assert scores["extrapolated"][0] == 1

    def test_a_share_of_the_pixels(self) -> None:
        """The product of floats for 0.29 of 100 is below 29."""
        heat = np.random.default_rng(0).permutation(100).reshape(10, 10)
        assert Froc(cover=0.29).measure(case(heat, heat > 98))["threshold"].min() == 71

    def test_a_share_of_the_union(self) -> None:
        """14 of 25 pixels are shared; the product of floats for 0.56 of 25 is above 14."""
        heat = np.pad(np.ones((1, 19)), ((0, 7), (0, 6)))
        mask = np.pad(np.ones((1, 20)), ((0, 7), (5, 0)))
        row = Froc(least_iou=0.56).measure(case(heat, mask))
        assert (row["iou_hits"][0], row["iou_false_positives"][0]) == (1, 0)

    def test_scaled_heatmaps_are_the_same(self) -> None:
        images = [noisy(seed) for seed in range(4)]
        original = summary(Froc(), [case(heat, mask) for heat, mask in images])
        scaled = summary(Froc(), [case(8 * heat, mask) for heat, mask in images])
        assert original.keys() == scaled.keys()
        for name, values in original.items():
            assert scaled[name].tolist() == values.tolist()

    def test_a_paired_test_ignores_the_scale(self) -> None:
        first, second = (table(Froc(), [case(*noisy(seed, shape=(16, 16))) for seed in seeds])
                         for seeds in (range(12), range(12, 24)))  # fmt: skip
        ids = [str(number) for number in range(12)]
        results = []
        for scale in (1, 1e-3, 1e3):
            scaled = {**second, "threshold": scale * second["threshold"] - 5}
            test = paired_test(Froc().summarise, first, scaled, ids, "overlap", 200, 0, Froc().exchangeable)
            results.append((test.p, test.difference))
        assert results == [results[0]] * 3
        quantile = Froc(scale="quantile")
        assert quantile.exchangeable(first) is first

    def test_quantiles_ignore_the_scale_of_each_image(self) -> None:
        images = [noisy(seed) for seed in range(4)]
        original = [case(heat, mask) for heat, mask in images]
        scaled = [case(factor * heat, mask) for factor, (heat, mask) in zip((1, 4, 16, 1 / 8), images)]
        metric = Froc(scale="quantile")
        assert summary(metric, original)["overlap"][0] == summary(metric, scaled)["overlap"][0]
        assert summary(Froc(), original)["overlap"][0] != summary(Froc(), scaled)["overlap"][0]


class TestCases:
    def test_images_without_lesions_count_as_images(self) -> None:
        heat = drawn((8, 8), {(1, 1): 5, (6, 6): 4})
        mask = drawn((8, 8), {(6, 6): 1})
        alone = summary(Froc(rates=[0.5]), [case(heat, mask)])
        beside = summary(Froc(rates=[0.5]), [case(heat, mask), case(0 * heat, 0 * mask)])
        assert alone["at_0.5"][0] == 0
        assert beside["at_0.5"][0] == 1

    def test_a_resample_without_lesions_has_no_value(self) -> None:
        heat = drawn((8, 8), {(1, 1): 5})
        values = table(Froc(), [case(heat, drawn((8, 8), {(1, 1): 1})), case(heat, 0 * heat)])
        scores = Froc().summarise(values, np.array([[1, 1], [0, 3], [2, 0]]))
        assert np.isnan(scores["overlap"]).tolist() == [False, True, False]
        assert np.isnan(scores["extrapolated"]).tolist() == [False, True, False]

    def test_a_case_that_was_not_measured_is_left_out(self) -> None:
        values = table(Froc(), EXAMPLE)
        missing = {name: np.concatenate([array, np.full_like(array[:1], np.nan)]) for name, array in values.items()}
        actual = Froc().summarise(missing, np.ones((1, 3)))
        expected = Froc().summarise(values, np.ones((1, 2)))
        for name in expected:
            np.testing.assert_array_equal(actual[name], expected[name])

    def test_many_resamples_and_one_by_one_agree(self) -> None:
        values = table(Froc(), [case(*noisy(seed)) for seed in range(6)])
        counts = np.random.default_rng(0).poisson(1, (1100, 6))
        counts[0] = 1
        together = Froc().summarise(values, counts)["overlap"]
        assert together.shape == (1100,)
        for row in (0, 511, 512, 1099):
            assert together[row] == pytest.approx(Froc().summarise(values, counts[[0, row]])["overlap"][1], nan_ok=True)

    def test_the_core_summarises_it_with_an_interval(self) -> None:
        values = table(Froc(), [case(*noisy(seed)) for seed in range(6)])
        intervals = summarise_cases(Froc().summarise, values, list("aabbcc"), 200, 0.95, 0)
        assert {*RULES, "at_0.125", "at_8", "extrapolated"} <= intervals.keys()
        assert "overlap_curve" not in intervals
        assert intervals["overlap"].low <= intervals["overlap"].value <= intervals["overlap"].high
        assert intervals["overlap"].n == 6

    def test_findings_are_united_and_anatomy_is_left_out(self) -> None:
        first = drawn((9, 9), {(2, 2): 1})
        second = drawn((9, 9), {(6, 6): 1, (6, 7): 1})
        annotations = [Annotation("a", first), Annotation("b", second), Annotation("optic_disc", 1 - first)]
        assert Froc().measure(case(first, *annotations))["lesions"] == 2
        assert Froc(findings=["b"]).measure(case(first, *annotations))["lesions"] == 1
        assert Froc(findings=["b"]).measure(case(first, *annotations))["overlap_false_positives"][0] == 1

    def test_readers(self) -> None:
        lesions_by_reader = {"x": {(2, 2): 1}, "y": {(2, 2): 1, (0, 0): 1}, "z": {(2, 2): 1, (6, 6): 1}}
        annotations = [
            Annotation("a", drawn((8, 8), lesion_pixels), reader=reader)
            for reader, lesion_pixels in lesions_by_reader.items()
        ]
        heat = drawn((8, 8), {(2, 2): 3, (6, 6): 2})
        counted = {
            readers: Froc(readers=readers).measure(case(heat, *annotations))
            for readers in ("union", "majority", "each")
        }
        assert [(row["lesions"], row["images"]) for row in counted.values()] == [(3, 1), (1, 1), (5, 3)]
        assert [row["overlap_hits"][1] for row in counted.values()] == [2, 1, 4]
        assert [row["overlap_false_positives"][1] for row in counted.values()] == [0, 1, 2]

    def test_nothing_examined(self) -> None:
        with pytest.raises(Undefined, match="no finding was examined"):
            Froc().measure(case(FIRST))
        with pytest.raises(Undefined, match="only densities"):
            Froc().measure(case(FIRST, Annotation("gaze", FIRST, kind="density")))
        assert Froc().measure(case(FIRST, 0 * FIRST))["lesions"] == 0

    def test_a_heatmap_with_nan_or_of_another_shape_is_refused(self) -> None:
        broken = FIRST.copy()
        broken[0, 0] = np.nan
        with pytest.raises(DataError, match="not finite"):
            Froc().measure(case(broken, FIRST))
        misfit = Case(EXAMPLE[0].sample, heatmap=Heatmap(SECOND))
        with pytest.raises(DataError, match=r"\(3, 3\).*\(5, 5\)"):
            Froc().measure(misfit)

    @pytest.mark.parametrize(
        "wrong", [{"cover": 0}, {"connectivity": 6}, {"thresholds": 1}, {"rates": []}, {"rates": [0]}, {"scale": "log"}]
    )
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"Froc: .*{next(iter(wrong))}"):
            Froc(**wrong)


class TestLesions:
    def test_a_small_lesion_keeps_its_pixels_of_highest_coverage(self) -> None:
        coverage = np.array([[0.1, 0.3, 0, 0.2, 0.9, 1, 0, 0.05]])
        assert lesions(coverage, 0.5, 8).numbers.tolist() == [[0, 1, 0, 0, 2, 2, 0, 3]]
        assert lesions(coverage, 0.0, 8).numbers.tolist() == [[1, 1, 0, 2, 2, 2, 0, 3]]

    @pytest.mark.parametrize(("connectivity", "count"), [(8, 1), (4, 2)])
    def test_diagonal_neighbours(self, connectivity: int, count: int) -> None:
        assert lesions(np.eye(2), 0.5, connectivity).count == count

    def test_lesions_are_not_lost_in_a_smaller_image(self) -> None:
        """Of 64 drawn lesions, at least 60 stay apart in an image of a tenth of the size."""
        generator = np.random.default_rng(0)
        native = np.zeros((400, 400))
        for row, column in np.ndindex(8, 8):
            top = 50 * row + generator.integers(5, 35)
            left = 50 * column + generator.integers(5, 35)
            native[top : top + 4, left : left + 3] = 1
        small = native.reshape(40, 10, 40, 10).mean(axis=(1, 3))
        assert (small < 0.5).all()
        assert lesions(native, 0.5, 8).count == 64
        assert lesions(small, 0.5, 8).count == label(small > 0, np.ones((3, 3)))[1] >= 60
