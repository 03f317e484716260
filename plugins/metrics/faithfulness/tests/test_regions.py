"""Selectivity, IROF and sensitivity-n against plain loops, closed forms and, where it is installed, Quantus."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heatproof.errors import Undefined
from heatproof_faithfulness.irof import Irof
from heatproof_faithfulness.pixel_flipping import PixelFlipping, Selectivity
from heatproof_faithfulness.sensitivity_n import SensitivityN
from heatproof_superpixels.segmentation import superpixels

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.random((2, 6, 7))
HEAT = RANDOM.normal(size=(6, 7))
FIELD = np.ones((6, 7), dtype=bool)
FIELD[0] = FIELD[:, 6] = False


class Weighted(nn.Module):
    """Linear: the first logit is the sum of all values times their weights, the other is 0."""

    def __init__(self, weights: Array) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights))

    def forward(self, images: Tensor) -> Tensor:
        total = (images * self.weights).flatten(1).sum(1)
        return torch.stack([total, 0 * total], 1)


def curved() -> nn.Module:
    """A small network with random weights, from two channels to three classes."""
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def score(network: nn.Module, image: Array, target: int, logit: bool) -> float:
    with torch.no_grad():
        row = network.double()(torch.from_numpy(image)[None])[0]
    return float((row if logit else row.softmax(0))[target])


def without(image: Array, pixels: Array, values: Any) -> Array:
    return np.where(pixels, values, image)


class TestSelectivity:
    def test_it_is_pixel_flipping_by_its_authors_settings(self, case: Any) -> None:
        """Until no patch is left, each is set to 0, and the score is the logit."""
        example = case(curved(), IMAGE, HEAT, target=1)
        flipping = PixelFlipping(patch=2, steps=None, baseline=0.0, of="logit").measure(example)
        selectivity = Selectivity(patch=2).measure(example)
        assert selectivity["curve"].tolist() == flipping["curve"].tolist()
        assert len(selectivity["curve"]) == 3 * 4 + 1
        assert selectivity["curve"][-1] == score(curved(), 0 * IMAGE, 1, logit=True)

    def test_the_areas_of_a_linear_model(self, case: Any) -> None:
        """Four patches that add 4, 3, 2 and 1 leave 10, 6, 3, 1 and 0 in the best order, 10, 9, 7, 4 and 0 else."""
        image = np.ones((1, 4, 4))
        weights = np.kron([[4.0, 3.0], [1.0, 2.0]], np.full((2, 2), 0.25))
        for sign, areas in ((1, (15 / 4, 6)), (-1, (25 / 4, 4))):
            result = Selectivity(patch=2).measure(case(Weighted(weights), image, sign * weights))
            assert (result["value"], result["aopc"]) == pytest.approx(areas, rel=1e-12)


class TestIrof:
    @pytest.mark.parametrize("field", [np.ones((6, 7), bool), FIELD], ids=["whole", "field"])
    @pytest.mark.parametrize("baseline", [0.25, "mean"])
    def test_a_plain_loop_over_superpixels(self, case: Any, baseline: Any, field: Any) -> None:
        labels = superpixels(IMAGE, 8, 10.0)
        numbers = sorted({*labels[field]}, key=lambda number: -HEAT[(labels == number) & field].mean())
        assert 2 < len(numbers) <= 8
        values = baseline
        if baseline == "mean":
            values = np.array([[[channel[field].mean()]] for channel in IMAGE])
        curve = [1.0]
        area = 0.0
        for count in range(1, len(numbers) + 1):
            image = without(IMAGE, np.isin(labels, numbers[:count]) & field, values)
            curve.append(score(curved(), image, 1, logit=False) / score(curved(), IMAGE, 1, logit=False))
            area += (curve[-1] + curve[-2]) / 2 / len(numbers)
        result = Irof(segments=8, baseline=baseline).measure(case(curved(), IMAGE, HEAT, target=1, field=field, rows=3))
        assert result["value"] == pytest.approx(1 - area, rel=1e-12)
        assert result["curve"] == pytest.approx(curve + (9 - len(curve)) * curve[-1:], rel=1e-12)

    def test_quarters_of_a_linear_model(self, case: Any) -> None:
        """Quarters of one colour each add 4, 3, 2 and 1 of 10: the best order leaves 1, .6, .3, .1 and 0."""
        quarter = np.full((4, 4), 1 / 16)
        image = np.kron([[0.8, 0.6], [0.2, 0.4]], np.ones((4, 4)))[None]
        weights = np.kron([[4.0, 3.0], [1.0, 2.0]], quarter) / image[0]
        metric = Irof(segments=4, baseline=0.0, of="logit")
        for sign, area in ((1, (0.5 + 0.6 + 0.3 + 0.1) / 4), (-1, (0.5 + 0.9 + 0.7 + 0.4) / 4)):
            result = metric.measure(case(Weighted(weights), image, sign * weights * image[0]))
            assert result["value"] == pytest.approx(1 - area, rel=1e-12)

    def test_no_image_takes_more_passes_than_segments(self, case: Any, passes: Any) -> None:
        """SLIC finds 9 superpixels where 7 are wanted; every one of them is replaced nevertheless."""
        image = RANDOM.random((1, 30, 30))
        assert superpixels(image, 7, 1000.0).max() + 1 == 9
        heat = RANDOM.random((30, 30))
        result = Irof(segments=7, compactness=1000.0, baseline=0.0, of="logit").measure(
            case(Weighted(np.ones((30, 30))), image, heat)
        )
        assert len(passes) == 7
        assert len(result["curve"]) == 8
        assert result["curve"][-1] == 0

    def test_undefined_with_a_reason(self, case: Any) -> None:
        image = np.ones((1, 6, 7))
        with pytest.raises(Undefined, match="the logit of the image is -42: no score is a share of it"):
            Irof(segments=4, of="logit").measure(case(Weighted(-image[0]), image, HEAT))
        field = superpixels(IMAGE, 4, 10.0) == 0
        with pytest.raises(Undefined, match="only one superpixel"):
            Irof(segments=4).measure(case(curved(), IMAGE, HEAT, field=field))


class TestSensitivityN:
    @pytest.mark.parametrize("patch", [1, 2])
    @pytest.mark.parametrize("field", [np.ones((6, 7), bool), FIELD], ids=["whole", "field"])
    def test_a_plain_loop_over_the_sets(self, case: Any, passes: Any, patch: int, field: Any) -> None:
        metric = SensitivityN(percentages=(10, 60), subsets=5, patch=patch, baseline=5.0, of="probability")
        result = metric.measure(case(curved(), IMAGE, HEAT, target=2, field=field, rows=4))
        removed = [(image == 5).all(0).numpy() for image in passes.images]
        features = {(y // patch, x // patch) for y, x in np.argwhere(field)}
        expected = []
        for size, start in ((10, 0), (60, 5)):
            sets = removed[start : start + 5]
            for pixels in sets:
                members = {(y // patch, x // patch) for y, x in np.argwhere(pixels)}
                assert len(members) == max(1, round(size * len(features) / 100))
                assert not pixels[~field].any()
                assert all(pixels[y, x] for y, x in np.argwhere(field) if (y // patch, x // patch) in members)
            falls = [
                score(curved(), IMAGE, 2, logit=False) - score(curved(), without(IMAGE, pixels, 5.0), 2, logit=False)
                for pixels in sets
            ]
            expected.append(np.corrcoef([HEAT[pixels].sum() for pixels in sets], falls)[0, 1])
        assert result["curve"] == pytest.approx(expected, rel=1e-10)
        assert result["value"] == pytest.approx(np.mean(expected), rel=1e-10)

    @pytest.mark.parametrize("patch", [1, 3])
    def test_input_x_gradient_of_a_linear_model_is_perfect(self, case: Any, patch: int) -> None:
        """Then the fall of the score is the sum of the relevance, for any n (Ancona et al. 2018)."""
        weights = RANDOM.normal(size=(6, 7))
        heat = IMAGE[0] * weights
        for sign in (1, -1):
            metric = SensitivityN(percentages=(1, 30, 80), subsets=6, patch=patch)
            result = metric.measure(case(Weighted(weights), IMAGE[:1], sign * 3 * heat))
            assert result["curve"] == pytest.approx([sign] * 3, abs=1e-12)

    def test_random_heatmaps_are_expected_to_reach_0(self, case: Any) -> None:
        model = case(curved(), IMAGE, HEAT).batch.model
        metric = SensitivityN(percentages=(20,), subsets=8)
        values = [metric.measure(case(model, IMAGE, RANDOM.random((6, 7))))["value"] for _ in range(150)]
        assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / np.sqrt(150))
        assert metric.expected("value") == 0
        assert SensitivityN(patch=2).expected("value") is None

    def test_all_heatmaps_of_an_image_get_the_same_sets(self, case: Any, passes: Any) -> None:
        metric = SensitivityN(percentages=(20, 50), subsets=4)
        for heat, settings in ((HEAT, {}), (-HEAT, {"rows": 3}), (HEAT, {"id": "two"}), (HEAT, {"seed": 1})):
            metric.measure(case(curved(), IMAGE, heat, **settings))
        first, same, *others = (torch.stack(passes.images[start : start + 8]) for start in range(0, 32, 8))
        assert torch.equal(first, same)
        assert not any(torch.equal(first, other) for other in others)

    @pytest.mark.parametrize("value", [0.1, 1e5])
    def test_nothing_to_correlate(self, case: Any, value: float) -> None:
        """Rounding errors of equal sums, or of a model that looks nowhere, are no correlation."""
        with pytest.raises(Undefined, match="the relevance, or the score, is the same"):
            SensitivityN(subsets=4).measure(case(curved(), IMAGE, np.full((6, 7), np.float32(value))))
        with pytest.raises(Undefined, match="the relevance, or the score, is the same"):
            SensitivityN(subsets=4).measure(case(Weighted(np.zeros((6, 7))), IMAGE[:1], HEAT))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("quantus") is None, reason="Quantus is not installed")
class TestQuantus:
    """The curve of Quantus starts after the first patch, and its IROF is not divided by the number of superpixels."""

    @staticmethod
    def inputs(heat: Array, image: Array) -> dict[str, Any]:
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(len(image), 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * heat.size, 3)
        )
        return {
            "model": network.eval(), "x_batch": image[None].astype(np.float32), "y_batch": np.array([1]),
            "a_batch": heat[None, None].astype(np.float32), "device": "cpu",
        }  # fmt: skip

    def test_selectivity(self, case: Any) -> None:
        import quantus

        inputs = self.inputs(HEAT[:, :6], IMAGE[:1, :, :6])
        reference = quantus.Selectivity(
            patch_size=2, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True,
            return_aggregate=False,
        )  # fmt: skip
        (expected,) = reference(**inputs, softmax=False)
        example = case(inputs["model"], inputs["x_batch"][0], inputs["a_batch"][0, 0], target=1)
        assert Selectivity(patch=2).measure(example)["curve"][1:] == pytest.approx(np.ravel(expected), rel=1e-5)

    def test_irof(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        import quantus

        image = RANDOM.random((1, 24, 24))
        inputs = self.inputs(RANDOM.normal(size=(24, 24)), image)
        reference = quantus.IROF(perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True)
        # Which numpy 2 no longer has.
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
        (expected,) = reference(**inputs, softmax=True)
        labels = quantus.helpers.utils.get_superpixel_segments(np.moveaxis(inputs["x_batch"][0], 0, -1), "slic")
        monkeypatch.setattr("heatproof_faithfulness.irof.superpixels", lambda *arguments: labels)
        count = labels.max() + 1
        example = case(inputs["model"], inputs["x_batch"][0], inputs["a_batch"][0, 0], target=1)
        result = Irof(segments=count, baseline=0.0).measure(example)
        # Quantus starts after the first superpixel, and takes the area of a curve of so many points from their number.
        later = result["curve"][1:]
        assert expected == pytest.approx(count - (later.sum() - (later[0] + later[-1]) / 2), rel=1e-5)
