"""Deletion, insertion and pixel flipping against plain loops, closed forms and Quantus; conformance and errors."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, Undefined
from heatproof.model import Model
from heatproof.testing import conforms
from heatproof_faithfulness.complexity import Complexity
from heatproof_faithfulness.deletion import Deletion, Insertion
from heatproof_faithfulness.irof import Irof
from heatproof_faithfulness.max_sensitivity import MaxSensitivity
from heatproof_faithfulness.model_randomization import ModelRandomization
from heatproof_faithfulness.pixel_flipping import PixelFlipping, Selectivity
from heatproof_faithfulness.ranking import patch_count, patches, ranking
from heatproof_faithfulness.road import Road
from heatproof_faithfulness.sensitivity_n import SensitivityN

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.random((2, 6, 7))
HEAT = RANDOM.normal(size=(6, 7))
FIELD = np.ones((6, 7), dtype=bool)
FIELD[0] = FIELD[:, 6] = False


class Sum(nn.Module):
    """The logits are the sum of all values, 0 and 0: with one channel each pixel's value is its relevance."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([total, 0 * total, 0 * total], 1)


class Unit(nn.Module):
    """One logit, the sum of all values; if ``opposed``, a logit for either of two classes."""

    def __init__(self, opposed: bool = False) -> None:
        super().__init__()
        self.opposed = opposed

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1, keepdim=True)
        return torch.cat([-total, total], 1) if self.opposed else total


class Dying(nn.Module):
    """1 while every pixel is present, else 0."""

    def forward(self, images: Tensor) -> Tensor:
        alive = (images > 0).flatten(1).all(1).to(images)
        return torch.stack([alive, 0 * alive], 1)


class Doubled(nn.Module):
    """Quantus gives float32."""

    def forward(self, images: Tensor) -> Tensor:
        return images.double()


def curved() -> nn.Module:
    """A small network with random weights, from two channels to three classes."""
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def plain(network: nn.Module, images: list[Array], target: int, logit: bool) -> list[float]:
    """Compute the target's score of each image, one forward per image."""
    scores = []
    for image in images:
        with torch.no_grad():
            row = network(torch.from_numpy(image)[None])[0]
        if not logit:
            row = row.softmax(0)
        scores.append(float(row[target]))
    return scores


def areas(xs: list[float], ys: list[float]) -> float:
    return sum((x1 - x0) * (y0 + y1) / 2 for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:]))


@conforms(
    Deletion(steps=5), Deletion(steps=4, baseline="uniform", of="logit"), Insertion(steps=5), PixelFlipping(patch=5),
    PixelFlipping(patch=4, features_in_step=3, steps=None, baseline=0.5), Road(percentages=(20, 80)),
    Selectivity(patch=8), Irof(segments=5), SensitivityN(percentages=(20, 60), subsets=3), Complexity(),
    MaxSensitivity(samples=3), ModelRandomization(), ModelRandomization(order="independent", stages=2),
)  # fmt: skip
def test_conformance(check):
    check()


class TestSecondImplementation:
    """Plain loops over pixels, with one forward per image."""

    @pytest.mark.parametrize("field", [np.ones((6, 7), bool), FIELD], ids=["whole", "field"])
    @pytest.mark.parametrize("baseline", [0.25, "mean", "blur"])
    @pytest.mark.parametrize("kind", [Deletion, Insertion])
    @pytest.mark.parametrize("steps", [1, 4, 42])
    def test_deletion_and_insertion(self, case: Any, kind: Any, baseline: Any, steps: int, field: Any) -> None:
        network = curved()
        example = case(network, IMAGE, HEAT, field=field, target=1, rows=3)
        pixels = sorted(map(tuple, np.argwhere(field)), key=lambda position: -HEAT[position])
        images = []
        shares = []
        for step in range(steps + 1):
            count = int(np.ceil(round(step * len(pixels) / steps, 9)))
            removed = pixels[:count] if kind is Deletion else pixels[count:]
            images.append(self.without(removed, self.fill(baseline, field)))
            shares.append(count / len(pixels))
        expected = plain(network, images, 1, logit=False)
        result = kind(steps=steps, baseline=baseline, sigma=1.5).measure(example)
        assert result["curve"] == pytest.approx(expected, rel=1e-12)
        assert result["value"] == pytest.approx(areas(shares, expected), rel=1e-12)

    def fill(self, baseline: Any, field: Array) -> Array:
        if baseline == "mean":
            return np.stack([np.full((6, 7), channel[field].mean()) for channel in IMAGE])
        if baseline == "blur":
            return np.stack([gaussian_filter(channel, 1.5) for channel in IMAGE])
        return np.full((2, 6, 7), baseline)

    def without(self, removed: list[tuple[int, ...]], fill: Array) -> Array:
        image = IMAGE.copy()
        for position in removed:
            image[(slice(None), *position)] = fill[(slice(None), *position)]
        return image

    @pytest.mark.parametrize(("patch", "at_once", "steps"), [(1, 5, None), (2, 1, 4), (3, 2, None), (4, 1, 100)])
    @pytest.mark.parametrize("field", [np.ones((6, 7), bool), FIELD], ids=["whole", "field"])
    def test_pixel_flipping(self, case: Any, patch: int, at_once: int, steps: int | None, field: Any) -> None:
        network = curved()
        example = case(network, IMAGE, HEAT, field=field, target=2, rows=4)
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for y, x in np.argwhere(field):
            groups.setdefault((y // patch, x // patch), []).append((y, x))
        order = sorted(groups.values(), key=lambda group: -np.mean([HEAT[position] for position in group]))
        total = -(-(-(-6 // patch) * -(-7 // patch)) // at_once)
        length = min(total, steps or total)
        images = [
            self.without([position for group in order[: step * at_once] for position in group], np.full((2, 6, 7), 0.5))
            for step in range(length + 1)
        ]
        expected = plain(network, images, 2, logit=True)
        metric = PixelFlipping(patch=patch, features_in_step=at_once, steps=steps, baseline=0.5, of="logit")
        result = metric.measure(example)
        assert result["curve"] == pytest.approx(expected, rel=1e-12)
        assert result["value"] == pytest.approx(
            areas([step / length for step in range(length + 1)], expected), rel=1e-12
        )
        assert result["aopc"] == pytest.approx(np.mean([expected[0] - value for value in expected]), abs=1e-14)

    @pytest.mark.parametrize("value", [0.1, 3.0])
    def test_patches_cut_by_the_border_are_as_relevant_as_others(self, case: Any, value: float) -> None:
        """On a constant heatmap all patches tie, so their order is drawn; 224 pixels leave a border of 8 beside 9s."""
        heat = np.full((224, 224), np.float32(value))
        cut = patches(heat.shape, 9) % 25 == 24
        ranks = [ranking(case(Sum(), heat[None], heat, id=str(id)), 9).ranks[cut].mean() for id in range(4)]
        assert np.mean(ranks) == pytest.approx(312, abs=60)
        heat[-8:] = np.float32(value) * 1.01
        order = ranking(case(Sum(), heat[None], heat), 9)
        assert sorted(np.unique(order.ranks[-8:])) == list(range(25))

    def test_uniform_noise_lies_in_the_range_of_each_channel(self, case: Any, passes: Any) -> None:
        image = IMAGE * np.array([1.0, 5.0]).reshape(2, 1, 1)
        first, again, other = (case(curved(), image, HEAT, id=id) for id in ("one", "one", "other"))
        values = [Deletion(steps=1, baseline="uniform").measure(example)["value"] for example in (first, again, other)]
        assert values[0] == values[1] != values[2]
        shown = passes.images[0].numpy()
        for noise, channel in zip(shown, image):
            assert channel.min() <= noise.min() < noise.max() <= channel.max()
            assert np.unique(noise).size == noise.size

    def test_volumes(self, case: Any) -> None:
        image = RANDOM.random((1, 3, 4, 5))
        heat = RANDOM.normal(size=(3, 4, 5))
        result = Deletion(steps=6, baseline=0.0, of="logit").measure(case(Sum(), image, heat))
        values = image.ravel()[np.argsort(-heat.ravel())]
        assert result["curve"] == pytest.approx([values[count:].sum() for count in range(0, 61, 10)])


class TestOracles:
    def test_the_values_of_a_sum_are_its_best_heatmap(self, case: Any) -> None:
        """For f = sum(x) the best heatmap is x and the worst is -x; both scores have a closed form."""
        image = RANDOM.random((1, 6, 7))
        metrics = Deletion(steps=42, baseline=0.0, of="logit"), Insertion(steps=42, baseline=0.0, of="logit")
        falling = np.sort(image.ravel())[::-1]
        lost = np.concatenate([[0], falling.cumsum()])
        for metric, best in zip(metrics, (image.sum() - lost, lost)):
            result = {
                name: metric.measure(case(Sum(), image, heat))
                for name, heat in (("best", image[0]), ("random", HEAT), ("worst", -image[0]))
            }
            assert result["best"]["curve"] == pytest.approx(best, abs=1e-12)
            values = [result[name]["value"] for name in ("best", "random", "worst")]
            assert values == sorted(values, reverse=metric.higher_is_better)
        flipping = PixelFlipping(patch=1, steps=None, baseline=0.0, of="logit").measure(case(Sum(), image, image[0]))
        assert flipping["curve"] == pytest.approx(image.sum() - lost, abs=1e-12)

    def test_a_model_that_dies_at_the_first_missing_pixel(self, case: Any) -> None:
        """Deletion leaves the corner of the first trapezoid, insertion that of the last one."""
        image = 1 + RANDOM.random((1, 6, 7))
        deleted = Deletion(steps=42, baseline=0.0, of="logit").measure(case(Dying(), image, HEAT))
        assert deleted["curve"].tolist() == [1] + 42 * [0]
        assert deleted["value"] == pytest.approx(0.5 / 42)
        inserted = Insertion(steps=42, baseline=0.0, of="logit").measure(case(Dying(), image, HEAT))
        assert inserted["curve"].tolist() == 42 * [0] + [1]

    def test_a_model_that_looks_nowhere(self, case: Any) -> None:
        example = case(Sum(), np.zeros((1, 6, 7)), HEAT)
        for metric in (Deletion(baseline=0.0), Insertion(baseline=0.0), PixelFlipping(baseline=0.0)):
            assert metric.measure(example)["value"] == pytest.approx(1 / 3)

    def test_constant_heatmaps_score_as_random_ones(self, case: Any) -> None:
        """Over many samples the mean curve of a sum is the straight line of random orders."""
        image = RANDOM.random((1, 6, 7))
        metric = Deletion(steps=42, baseline=0.0, of="logit")
        model = case(Sum(), image, HEAT).batch.model
        values = {
            value: np.array([
                metric.measure(case(model, image, np.full((6, 7), value), id=str(id)))["value"] for id in range(100)
            ])
            for value in (0.0, -3.0)
        }  # fmt: skip
        assert np.array_equal(values[0.0], values[-3.0])
        spread = 4 * values[0.0].std() / np.sqrt(100)
        assert values[0.0].mean() == pytest.approx(image.sum() / 2, abs=spread)
        assert values[0.0].std() > 0


class TestRanking:
    def test_the_field_alone_is_ranked(self, case: Any) -> None:
        order = ranking(case(Sum(), IMAGE, HEAT, field=FIELD))
        assert order.count == FIELD.sum() == 30
        assert (order.ranks[~FIELD] == 30).all()
        assert sorted(order.ranks[FIELD]) == list(range(30))
        assert HEAT[FIELD][np.argsort(order.ranks[FIELD])].tolist() == sorted(HEAT[FIELD], reverse=True)
        assert (order.reversed().ranks[FIELD] == 29 - order.ranks[FIELD]).all()
        assert (order.reversed().ranks[~FIELD] == 30).all()

    def test_ties_depend_on_seed_and_id_only(self, case: Any) -> None:
        def places(heat: Array, **settings: Any) -> list[int]:
            return ranking(case(Sum(), IMAGE, heat, **settings)).ranks.ravel().tolist()

        flat = np.zeros((6, 7))
        assert places(flat) == places(flat + 5) == places(flat, rows=1)
        assert len({tuple(order) for order in (places(flat), places(flat, id="two"), places(flat, seed=1))}) == 3
        halves = np.repeat([1.0, 0.0], 21).reshape(6, 7)
        assert max(places(halves)[:21]) == 20

    def test_no_pixel_comes_first_more_often(self, case: Any) -> None:
        model = case(Sum(), IMAGE, HEAT).batch.model
        first = [ranking(case(model, IMAGE, np.zeros((6, 7)), id=str(id))).ranks.argmin() for id in range(420)]
        assert np.bincount(first, minlength=42).max() < 10 + 4 * np.sqrt(10)

    def test_patches(self) -> None:
        assert [np.bincount(patches((6, 7), side).ravel()).max() for side in (1, 2, 4, 9)] == [1, 4, 16, 42]
        assert [patch_count((6, 7), side) for side in (1, 2, 4, 9)] == [42, 12, 4, 1]
        assert patches((2, 3, 4), 2).max() + 1 == patch_count((2, 3, 4), 2) == 4


class TestPasses:
    @pytest.mark.parametrize(
        ("metric", "forwards"),
        [
            (Deletion(steps=11), 11), (Insertion(steps=11), 11), (PixelFlipping(patch=2, features_in_step=5), 3),
            (PixelFlipping(patch=1, steps=9), 9), (Road(percentages=(5, 50, 95)), 6), (Selectivity(patch=3), 6),
            (SensitivityN(percentages=(5, 50), subsets=4), 8),
        ],
        ids=lambda value: type(value).__name__,
    )  # fmt: skip
    def test_the_image_itself_never_passes_again(self, case: Any, passes: Any, metric: Any, forwards: int) -> None:
        example = case(curved(), IMAGE, HEAT, rows=4)
        metric.measure(example)
        assert (len(passes), passes.backwards) == (forwards, 0) == metric.cost(example.batch.model, (6, 7), (1, 1))
        assert passes.largest <= 4
        assert not any(np.allclose(image.numpy(), IMAGE) for image in passes.images)

    def test_the_stored_prediction_is_what_counts(self, case: Any) -> None:
        example = case(curved(), IMAGE, HEAT)
        example.prediction.logits[...] = 5.0
        example.prediction.probabilities[...] = 0.75
        assert Deletion(steps=3).measure(example)["curve"][0] == 0.75
        assert Insertion(steps=3, of="logit").measure(example)["curve"][-1] == 5.0
        assert PixelFlipping(patch=3).measure(example)["curve"][0] == 0.75

    def test_pieces_do_not_change_the_values(self, case: Any) -> None:
        for metric in (Deletion(steps=7), Insertion(steps=7), PixelFlipping(patch=2), Road(percentages=(30, 60, 90))):
            values = [metric.measure(case(curved(), IMAGE, HEAT, rows=rows))["value"] for rows in (1, 3, 100)]
            assert values == pytest.approx(values[:1] * 3, rel=1e-12)

    def test_without_memory_the_pieces_are_halved(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = Deletion(steps=9).measure(case(curved(), IMAGE, HEAT))
        evaluate = Batch.evaluate

        def cramped(batch: Batch, *rest: Any, **settings: Any) -> Any:
            if len(batch) > 2:
                raise torch.OutOfMemoryError("no room")
            return evaluate(batch, *rest, **settings)

        monkeypatch.setattr(Batch, "evaluate", cramped)
        example = case(curved(), IMAGE, HEAT, rows=8)
        assert Deletion(steps=9).measure(example)["curve"] == pytest.approx(expected["curve"], rel=1e-12)
        assert example.batch.budget.halved

    @pytest.mark.parametrize(("head", "logit"), [("regression", 2.0), ("ordinal", -1.0)])
    def test_the_head_reads_the_score(self, case: Any, head: Any, logit: float) -> None:
        """The unit of a grading head is the score of every target; its probability is computed by the head."""
        image = np.full((1, 2, 2), logit / 4)
        result = Deletion(steps=1, baseline=0.0).measure(case(Unit(), image, np.eye(2), head=head, target=2))
        read = (lambda value: value) if head == "regression" else lambda value: 1 / (1 + np.exp(-value))
        assert result["curve"] == pytest.approx([read(logit), read(0.0)])

    @pytest.mark.parametrize("metric", [Deletion, Insertion, PixelFlipping, Road])
    @pytest.mark.parametrize("of", ["probability", "logit"])
    def test_the_first_class_of_one_unit_is_its_complement(self, case: Any, metric: Any, of: Any) -> None:
        """Every score of the first class is that of a network with a unit for either class: -z, or 1 - p."""
        models = [Model.of(Unit(opposed), ("healthy", "ill"), head="sigmoid") for opposed in (False, True)]
        image = np.linspace(-1, 1, 12).reshape(1, 3, 4)
        for target in range(2):
            results = [
                metric(of=of).measure(case(model, image, np.arange(12.0).reshape(3, 4), target=target))
                for model in models
            ]
            for name, values in results[0].items():
                assert values == pytest.approx(results[1][name], abs=1e-12), name


class TestBadInput:
    ALL = Deletion(), Insertion(), PixelFlipping(), Road(), Selectivity(), Irof(), SensitivityN(subsets=3)

    @pytest.mark.parametrize("metric", ALL, ids=lambda metric: type(metric).__name__)
    def test_undefined_with_a_reason(self, case: Any, metric: Any, passes: Any) -> None:
        for value in (np.nan, np.inf):
            heat = HEAT.copy()
            heat[2, 3] = value
            with pytest.raises(Undefined, match="the heatmap holds values that are not finite"):
                metric.measure(case(curved(), IMAGE, heat))
        with pytest.raises(Undefined, match="the field of the sample is empty"):
            metric.measure(case(curved(), IMAGE, HEAT, field=np.zeros((6, 7), dtype=bool)))
        with pytest.raises(DataError, match=r"the heatmap of one is \(3, 7\), its image \(6, 7\)"):
            metric.measure(case(curved(), IMAGE, HEAT[:3]))
        assert len(passes) == 0

    def test_a_field_of_one_pixel(self, case: Any) -> None:
        field = np.zeros((6, 7), dtype=bool)
        field[2, 2] = True
        for metric in self.ALL[:5]:
            assert np.isfinite(metric.measure(case(curved(), IMAGE, HEAT, field=field))["value"])
        for metric in self.ALL[5:]:
            with pytest.raises(Undefined, match=r"the field.*nothing to"):
                metric.measure(case(curved(), IMAGE, HEAT, field=field))

    @pytest.mark.parametrize(
        ("kind", "wrong"),
        [
            (Deletion, {"steps": 0}), (Deletion, {"baseline": "black"}), (Deletion, {"baseline": float("nan")}),
            (Insertion, {"sigma": 0}), (Insertion, {"of": "loss"}), (PixelFlipping, {"patch": 0}),
            (PixelFlipping, {"features_in_step": 0}), (Road, {"percentages": ()}), (Road, {"percentages": (0, 10)}),
            (Road, {"percentages": (100,)}), (Road, {"noise": -1}), (MaxSensitivity, {"radius": 0}),
            (Irof, {"segments": 1}), (SensitivityN, {"subsets": 2}), (SensitivityN, {"percentages": (0,)}),
            (Selectivity, {"patch": 0}), (MaxSensitivity, {"samples": 0}), (ModelRandomization, {"order": "bottom"}),
            (ModelRandomization, {"stages": 0}),
        ],
    )  # fmt: skip
    def test_wrong_settings(self, kind: Any, wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"{kind.__name__}: .*{next(iter(wrong))}"):
            kind(**wrong)

    def test_directions(self) -> None:
        better = (
            [Deletion, PixelFlipping, Selectivity, MaxSensitivity, ModelRandomization],
            [Insertion, Irof, Complexity, Road, SensitivityN],
        )
        assert [[kind().higher_is_better for kind in kinds] for kinds in better] == [5 * [False], 5 * [True]]
        assert [kind().expected("value") for kind in (*better[0], *better[1])] == [None] * 8 + [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("quantus") is None, reason="Quantus is not installed")
class TestQuantus:
    """With one channel the features of Quantus are pixels; its curve starts after the first step."""

    @pytest.mark.parametrize("at_once", [1, 3])
    def test_pixel_flipping(self, case: Any, at_once: int) -> None:
        import quantus

        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 36, 3))
        image = RANDOM.random((1, 6, 6)).astype(np.float32)
        heat = RANDOM.normal(size=(6, 6)).astype(np.float32)
        metric = PixelFlipping(patch=1, features_in_step=at_once, steps=None, baseline=0.0)
        result = metric.measure(case(network, image, heat, target=1))["curve"]
        reference = quantus.PixelFlipping(
            features_in_step=at_once, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True
        )
        (expected,) = reference(
            model=nn.Sequential(Doubled(), network).eval(), x_batch=image[None], y_batch=np.array([1]),
            a_batch=heat[None, None], softmax=True, device="cpu",
        )  # fmt: skip
        assert result[1:] == pytest.approx(np.ravel(expected), rel=1e-8)
