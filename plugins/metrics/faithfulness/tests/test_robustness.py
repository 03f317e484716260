"""Max-sensitivity and model randomization against plain loops, Captum and Quantus, and undefined cases."""

import copy
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import Undefined
from heatproof.explainer import Explainer
from heatproof.passes import gradients
from heatproof.testing.toys import Piecewise, Residual
from heatproof_faithfulness.max_sensitivity import MaxSensitivity
from heatproof_faithfulness.model_randomization import ModelRandomization, layers, similarities
from heatproof_faithfulness.similarity import spearman, ssim

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.random((3, 16, 16)).astype(np.float32).astype(np.float64)


class Product(Explainer):
    """Image times gradient."""

    def explain(self, batch: Batch) -> Tensor:
        return batch.images * gradients(batch).images


class Image(Explainer):
    """The image itself; it uses no model but does not declare it."""

    def explain(self, batch: Batch) -> Tensor:
        return batch.images.clone()


class Silent(Explainer):
    """The image for one network, zero for all others."""

    network: Any = None

    def explain(self, batch: Batch) -> Tensor:
        return batch.images * float(batch.model.network is self.network)


class Picky(Silent):
    """The image for one network, undefined for all others."""

    def explain(self, batch: Batch) -> Tensor:
        if batch.model.network is not self.network:
            raise Undefined("another network")
        return batch.images.clone()


class Blind(Image):
    """The image itself; it declares that it uses no model."""

    traits = frozenset({"model_free"})


def network() -> nn.Module:
    return copy.deepcopy(Residual().network).double()


def product(model: nn.Module, values: Array, target: int) -> Array:
    """Image times gradient, summed over channels, by autograd on the network itself."""
    images = torch.from_numpy(values).double().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(model(images)[:, target].sum(), images)
    return (images * gradient).sum(1).detach().numpy().astype(np.float32)


def product_case(case: Any, explainer: Explainer, **settings: Any) -> Any:
    heat = product(network(), IMAGE[None], 1)[0]
    return case(network(), IMAGE, heat, target=1, explainer=explainer, **settings)


class TestMaxSensitivity:
    METRIC = MaxSensitivity(samples=7, radius=0.05)

    def noise(self, case: Any) -> Array:
        return np.stack([self.METRIC.noise(case.batch, number) for number in range(7)])

    def test_plain_loops(self, case: Any, passes: Any) -> None:
        example = product_case(case, Product(), rows=3)
        scores = self.METRIC.measure(example)
        assert (len(passes), passes.backwards, passes.largest) == (7, 7, 3)
        heat = np.float64(example.heatmap.values)
        changes = []
        for noise in self.noise(example):
            gap = product(network(), (IMAGE + noise)[None], 1)[0] - heat
            changes.append(np.sqrt((gap**2).sum() / (heat**2).sum()))
        assert scores["value"] == pytest.approx(max(changes), rel=1e-6)
        assert scores["mean"] == pytest.approx(np.mean(changes), rel=1e-6)

    def test_closed_forms(self, case: Any) -> None:
        """A heatmap equal to the image changes by the noise; a constant one does not change."""

        class Constant(Explainer):
            def explain(self, batch: Batch) -> Tensor:
                return torch.ones_like(batch.images)

        image = RANDOM.random((1, 5, 5)).astype(np.float32).astype(np.float64)
        flat = nn.Sequential(nn.Flatten(), nn.Linear(25, 2))
        example = case(flat, image, image[0], explainer=Image())
        noise = self.noise(example)
        assert self.METRIC.measure(example)["value"] == pytest.approx(
            max(np.linalg.norm(copy) for copy in noise) / np.linalg.norm(image), rel=1e-6
        )
        other = case(flat, image, np.ones((5, 5)), explainer=Constant())
        assert self.METRIC.measure(other) == {"value": 0, "mean": 0}

    def test_noise_is_uniform_and_keyed(self, case: Any) -> None:
        noise = self.noise(product_case(case, Product()))
        assert np.abs(noise).max() <= 0.05
        assert np.abs(noise).max() > 0.0499
        assert noise.std() == pytest.approx(0.05 / np.sqrt(3), rel=0.05)
        assert np.unique(noise).size == noise.size
        assert np.array_equal(noise, self.noise(product_case(case, Image(), rows=1)))
        assert not np.array_equal(noise, self.noise(product_case(case, Product(), id="two")))

    def test_captum(self, case: Any) -> None:
        example = product_case(case, Product())
        noise = torch.from_numpy(self.noise(example))

        def explain(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (torch.from_numpy(product(network(), images[0].detach().numpy(), 1)).double(),)

        expected = sensitivity_max(
            explain, torch.from_numpy(IMAGE)[None], lambda images: (images[0] + noise,), n_perturb_samples=7
        )
        assert self.METRIC.measure(example)["value"] == pytest.approx(float(expected), rel=1e-8)

    @pytest.mark.slow
    @pytest.mark.skipif(find_spec("quantus") is None, reason="Quantus is not installed")
    def test_quantus(self, case: Any) -> None:
        import quantus

        example = product_case(case, Product())
        noise = iter(self.noise(example))

        def explain(model: Any, inputs: Array, targets: Any, **settings: Any) -> Array:
            return np.float64(product(network(), inputs, 1))[:, None]

        reference = quantus.MaxSensitivity(
            nr_samples=7, perturb_func=lambda arr, indices, **settings: arr + next(noise).reshape(1, -1), abs=False,
            normalise=False, disable_warnings=True,
        )  # fmt: skip
        (expected,) = reference(
            model=network().float().eval(), x_batch=IMAGE[None], y_batch=np.array([1]),
            a_batch=np.float64(example.heatmap.values)[None, None], explain_func=explain, device="cpu",
        )  # fmt: skip
        assert self.METRIC.measure(example)["value"] == pytest.approx(expected, rel=1e-8)

    def test_undefined(self, case: Any) -> None:
        class Broken(Explainer):
            def explain(self, batch: Batch) -> Tensor:
                return batch.images * float("nan")

        with pytest.raises(Undefined, match="zero everywhere"):
            self.METRIC.measure(case(network(), IMAGE, np.zeros((16, 16)), explainer=Product()))
        with pytest.raises(Undefined, match="not finite"):
            self.METRIC.measure(case(network(), IMAGE, np.full((16, 16), np.nan), explainer=Product()))
        with pytest.raises(Undefined, match="an image nearby holds values that are not finite"):
            self.METRIC.measure(product_case(case, Broken()))


class TestSimilarity:
    def test_spearman(self) -> None:
        for values in (RANDOM.normal(size=50), RANDOM.integers(0, 4, 50)):
            other = RANDOM.integers(0, 9, 50)
            assert spearman(values, other) == pytest.approx(spearmanr(values, other).statistic, rel=1e-12)
        assert np.isnan(spearman(np.ones(5), np.arange(5)))

    def test_structural_similarity(self) -> None:
        """Compare with Wang's formula in each window of 7 × 7 pixels within the grid, by plain loops."""
        first = RANDOM.normal(size=(9, 10))
        second = RANDOM.normal(size=(9, 10))
        field = RANDOM.random((9, 10)) > 0.5
        scaled = [np.abs(values) / np.abs(values).max() for values in (first, second)]
        scores = []
        for y, x in np.argwhere(field[3:-3, 3:-3]):
            a, b = (values[y : y + 7, x : x + 7].ravel() for values in scaled)
            covariance = np.cov(a, b)
            top = (2 * a.mean() * b.mean() + 0.01**2) * (2 * covariance[0, 1] + 0.03**2)
            bottom = (a.mean() ** 2 + b.mean() ** 2 + 0.01**2) * (np.trace(covariance) + 0.03**2)
            scores.append(top / bottom)
        assert ssim(first, second, field) == pytest.approx(np.mean(scores), rel=1e-10)

    @pytest.mark.parametrize("shape", [(20, 31), (9, 8, 11), (4, 9)])
    def test_structural_similarity_of_scikit_image(self, shape: tuple[int, ...]) -> None:
        pair = np.abs(RANDOM.normal(size=(2, *shape)))
        first, second = (values / values.max() for values in pair)
        window = min(7, (min(shape) - 1) // 2 * 2 + 1)
        expected = structural_similarity(first, second, data_range=1.0, win_size=window)
        assert ssim(*pair, np.ones(shape, dtype=bool)) == pytest.approx(expected, rel=1e-12)
        border = np.zeros(shape, dtype=bool)
        border[(0,) * len(shape)] = True
        assert np.isnan(ssim(*pair, border))

    def test_a_grid_without_a_window_has_no_structural_similarity(self) -> None:
        pair = RANDOM.normal(size=(2, 2, 9))
        assert np.isnan(ssim(*pair, np.ones((2, 9), dtype=bool)))

    def test_scale_does_not_matter_and_sign_does(self) -> None:
        heatmap = RANDOM.normal(size=(16, 16))
        field = np.ones((16, 16), dtype=bool)
        assert similarities(heatmap, 1e-9 * heatmap, field) == pytest.approx((1, 1, 1))
        assert similarities(heatmap, -heatmap, field)[:2] == pytest.approx((1, -1))
        assert similarities(heatmap, -heatmap, field)[2] == pytest.approx(1)
        assert np.isnan(similarities(heatmap, np.zeros((16, 16)), field)).all()
        assert np.isnan(ssim(heatmap, np.zeros((16, 16)), field))
        assert ssim(heatmap[:4, :4], heatmap[:4, :4], field[:4, :4]) == pytest.approx(1)


class TestModelRandomization:
    @pytest.mark.parametrize("order", ["cascading", "independent"])
    @pytest.mark.parametrize("stages", [None, 2])
    def test_plain_loops(self, case: Any, order: Any, stages: int | None, passes: Any) -> None:
        """Compare with copies of the network that take the new weights layer by layer, explained by autograd."""
        metric = ModelRandomization(order=order, stages=stages)
        field = np.ones((16, 16), dtype=bool)
        field[:3] = False
        example = product_case(case, Product(), field=field)
        scores = metric.measure(example)
        drawn = [model.network.state_dict() for model in metric.models(example.batch)]
        heat = np.float64(example.heatmap.values)
        expected = []
        copied = network()
        for stage, group in enumerate(metric.groups(example.batch.model)):
            if order == "independent":
                copied = network()
            state = copied.state_dict()
            changed = {name for name in state if name.rpartition(".")[0] in group}
            copied.load_state_dict({**state, **{name: drawn[stage][name] for name in changed}})
            again = product(copied, IMAGE[None], 1)[0]
            pairs = (np.abs(heat[field]), np.abs(again[field])), (heat[field], again[field])
            expected.append([*(spearmanr(*pair).statistic for pair in pairs), ssim(heat, np.float64(again), field)])
        for column, name in enumerate(("absolute_spearman", "spearman", "ssim")):
            values = np.array(expected)[:, column]
            assert scores[f"{name}_stages"] == pytest.approx(values, abs=1e-6)
            assert scores[name] == pytest.approx(scores[f"{name}_stages"].mean())
        count = len(expected)
        assert count == (stages or 4)
        assert (len(passes), passes.backwards) == metric.cost(example.batch.model, (16, 16), (1, 1)) == (count, count)

    def test_a_heatmap_that_does_not_see_the_model_is_as_before(self, case: Any) -> None:
        heat = IMAGE.sum(0)
        scores = ModelRandomization().measure(case(network(), IMAGE, heat, explainer=Image()))
        for name in ("absolute_spearman", "spearman", "ssim"):
            assert scores[name] == pytest.approx(1)
        assert scores["constant"] == 0

    def test_a_random_network_explains_something_else(self, case: Any) -> None:
        scores = ModelRandomization(stages=None).measure(product_case(case, Product()))
        assert scores["absolute_spearman"] < 0.95
        assert np.ptp(scores["spearman_stages"]) > 0

    def test_the_order_is_that_of_evaluation_from_the_output_down(self, case: Any) -> None:
        model = Residual()
        assert layers(model) == [["stem", "stem_norm"], ["block", "block_norm"], ["last", "last_norm"], ["head"]]
        assert ModelRandomization(stages=2).groups(model) == [
            ["head", "last", "last_norm"], ["block", "block_norm", "stem", "stem_norm"]
        ]  # fmt: skip
        assert ModelRandomization(stages=None).groups(Piecewise()) == [["7"], ["3"], ["0"]]

    def test_a_network_that_cannot_be_traced(self, case: Any) -> None:
        class Branching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.later = nn.Linear(4, 2)
                self.first = nn.Linear(3 * 256, 4)
                self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))

            def forward(self, images: Tensor) -> Tensor:
                values = self.first(images.flatten(1))
                return self.scale * self.later(values if values.isfinite().all() else -values)

        example = case(Branching(), IMAGE, IMAGE.sum(0), explainer=Product())
        assert layers(example.batch.model) == [[""], ["later"], ["first"]]
        scores = ModelRandomization().measure(example)
        assert scores["spearman_stages"].shape == (3,)

    def test_weights_count_where_they_are_read(self, case: Any) -> None:
        class Norm(nn.BatchNorm2d):
            def forward(self, images: Tensor) -> Tensor:
                return nn.functional.batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias)

        class Odd(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.auxiliary = nn.Linear(4, 2)
                self.head = nn.Linear(4, 2)
                self.norm = Norm(4)
                self.first = nn.Conv2d(3, 4, 3)
                self.scale = nn.Parameter(torch.ones(4, 1, 1))

            def forward(self, images: Tensor) -> Tensor:
                return self.head((self.norm(self.first(images)) * self.scale).mean((2, 3)))

        model = case(Odd(), IMAGE, IMAGE.sum(0)).batch.model
        assert layers(model) == [["first", "norm"], [""], ["head"]]

    def test_models_are_made_once_and_share_what_is_not_drawn(self, case: Any) -> None:
        metric = ModelRandomization(stages=None)
        example = product_case(case, Product())
        other = product_case(case, Product(), id="two")
        other.batch.model = example.batch.model
        original = example.batch.model.network
        before = {name: value.clone() for name, value in original.state_dict().items()}
        first = [*metric.models(example.batch)]
        again = [*metric.models(other.batch)]
        assert all(a is b for a, b in zip(first, again))
        metric.measure(example)
        metric.measure(other)
        assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
        networks = [original, *(model.network for model in first)]
        addresses = set()
        for network in networks:
            addresses |= {value.data_ptr() for value in network.parameters()}
        assert len(addresses) == 2 * len([*original.parameters()])
        views = [model.view(example.batch.images, {}).module for model in (example.batch.model, *first)]
        weights = [[*view.parameters()] for view in views]
        assert len({value.data_ptr() for value in chain.from_iterable(weights)}) == 2 * len(weights[0])

    @pytest.mark.parametrize("kind", [Silent, Picky])
    def test_a_stage_with_a_constant_heatmap_or_none(self, case: Any, kind: Any) -> None:
        explainer = kind()
        example = case(network(), IMAGE, IMAGE.sum(0), explainer=explainer)
        explainer.network = example.batch.model.network
        scores = ModelRandomization(order="independent").measure(example)
        assert scores["constant"] == 1
        assert np.isnan(scores["spearman_stages"]).all()
        assert np.isnan(scores["absolute_spearman"])

    def test_undefined(self, case: Any) -> None:
        metric = ModelRandomization()
        with pytest.raises(Undefined, match="the explainer does not use the model"):
            metric.measure(product_case(case, Blind()))
        with pytest.raises(Undefined, match="the heatmap is constant"):
            metric.measure(case(network(), IMAGE, np.ones((16, 16)), explainer=Product()))
        with pytest.raises(Undefined, match="not finite"):
            metric.measure(case(network(), IMAGE, np.full((16, 16), np.nan), explainer=Product()))
        nowhere = np.zeros((16, 16), dtype=bool)
        with pytest.raises(Undefined, match="the field of the sample is empty"):
            metric.measure(case(network(), IMAGE, IMAGE.sum(0), explainer=Product(), field=nowhere))
        with pytest.raises(Undefined, match="no weights"):
            metric.measure(
                case(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGE, IMAGE.sum(0), explainer=Image())
            )
        assert metric.cost(Residual(), (16, 16), (0, 0)) == (0, 0)
