"""Moments under noise: antithetic pairs, the standard error that decides the number of copies, and full passes."""

from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, PluginError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.network.views import View
from heatproof.passes import gradients
from heatproof.records import Explanation
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual
from heatproof_shared_passes.sampling import Tolerance, sampling_notes
from heatproof_smoothgrad.noise import Moments, noise_moments

SIGMA = 0.15


class Power(nn.Module):
    """The sum of weight · x to a power."""

    def __init__(self, weights: Tensor, exponent: int):
        super().__init__()
        self.register_buffer("weights", weights)
        self.exponent = exponent

    def forward(self, images: Tensor) -> Tensor:
        return (self.weights * images.flatten(1) ** self.exponent).sum(1, keepdim=True)


class Powered(Model):
    """A model whose gradient under noise has a mean in closed form."""

    classes = ("a",)

    def __init__(self, exponent: int, pixels: int = 400):
        super().__init__()
        self.weights = random(pixels, seed=5) - 0.3
        self.exponent = exponent

    def build(self) -> nn.Module:
        return Power(self.weights, self.exponent)


class Twice(Explainer):
    """A base of two backward passes, as its attribute ``passes`` says."""

    passes = (2, 2)

    def explain(self, batch: Batch) -> Explanation:
        return Explanation(gradients(batch).images * 2)


class Adaptive(Explainer):
    """A base whose passes differ from sample to sample, as its note ``passes`` says."""

    passes = (2, 2)

    def explain(self, batch: Batch) -> Explanation:
        passes = [1 + int(id == "b") for id in batch.ids]
        return Explanation(gradients(batch).images * 2, notes={"passes": passes})


@pytest.fixture
def pass_sizes(monkeypatch):
    """The number of images of each forward with gradient."""
    sizes = []
    forward = View.__call__

    def counted(view, images, *arguments, **settings):
        if images.requires_grad:
            sizes.append(len(images))
        return forward(view, images, *arguments, **settings)

    monkeypatch.setattr(View, "__call__", counted)
    return sizes


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def residual_batch(count: int = 3, **changes: object) -> Batch:
    model = in_float64(Residual())
    images = random(count, 3, 16, 16) * torch.tensor([1.0, 3.0, 0.2], dtype=torch.float64)[:count, None, None, None]
    assert isinstance(model.view(images, {}), View)
    return Batch(model, list("abc")[:count], images, [0, 1, 2][:count], **changes)


def powered(exponent: int, seed: int = 0) -> Batch:
    return Batch(Powered(exponent), ["a"], random(1, 1, 20, 20, seed=9), [0], seed=seed)


def noises(batch: Batch, samples: int, antithetic: bool) -> list[Tensor]:
    """The noise of each draw; every second one is the negative of the previous one if ``antithetic``."""
    if not antithetic:
        return [batch.noise(draw) for draw in range(samples)]
    positive = [batch.noise(draw) for draw in range(samples // 2)]
    return [sign * noise for noise in positive for sign in (1, -1)]


def noisy_maps(batch: Batch, samples: int, antithetic: bool = False) -> Tensor:
    """The gradient of every noisy copy (draw, n, c, *space), by a plain loop over the network itself."""
    flat = batch.images.flatten(1)
    scale = SIGMA * (flat.max(1).values - flat.min(1).values)[:, None, None, None]
    maps = []
    for noise in noises(batch, samples, antithetic):
        noisy = (batch.images + scale * noise).requires_grad_()
        scores = batch.model.network(noisy).gather(1, batch.targets[:, None]).sum()
        maps.append(torch.autograd.grad(scores, noisy)[0])
    return torch.stack(maps)


def norms(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_plain_loop_agrees(antithetic):
    batch = residual_batch()
    moments = noise_moments(batch, 10, SIGMA, antithetic=antithetic)
    maps = noisy_maps(batch, 10, antithetic)
    independent = maps
    if antithetic:
        independent = maps.reshape(5, 2, *maps.shape[1:]).mean(1)
    error = independent.std(0) / len(independent) ** 0.5
    torch.testing.assert_close(moments.mean, maps.mean(0), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(moments.squares, maps.square().mean(0), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(moments.variance, maps.var(0, unbiased=False), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(moments.standard_error, error, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(moments.relative_error, norms(error) / norms(maps.mean(0)), rtol=1e-9, atol=0)
    assert moments.samples.tolist() == moments.passes.tolist() == [10] * 3


def test_pairs_are_exact_where_the_gradient_is_linear():
    """The two gradients of a pair average to the gradient of the image if the score is a square."""
    batch = powered(2)
    pairs, single = (noise_moments(batch, 8, SIGMA, antithetic=antithetic) for antithetic in (True, False))
    torch.testing.assert_close(pairs.mean, gradients(batch).images, rtol=1e-12, atol=1e-14)
    assert float(pairs.relative_error) < 1e-12
    assert float(single.relative_error) > 0.01
    assert float(pairs.variance.mean()) == pytest.approx(float(single.variance.mean()), rel=0.3)


def test_pairs_need_fewer_copies_of_a_fourth_power():
    """In 4 x³ the odd part of the noise cancels: the standard error is below that of as many independent copies."""
    pairs, single = (noise_moments(powered(4), 200, SIGMA, antithetic=antithetic) for antithetic in (True, False))
    assert float(pairs.relative_error) < 0.8 * float(single.relative_error)


@pytest.mark.parametrize("samples", [3, Tolerance(0.1, 25)])
def test_half_a_pair_is_refused(samples):
    with pytest.raises(PluginError, match="must be even"):
        noise_moments(residual_batch(), samples, SIGMA, antithetic=True)


@pytest.mark.parametrize("antithetic", [False, True])
def test_the_standard_error_is_that_of_repeated_runs(antithetic):
    """Compare with the closed form of the mean of 4 w (x + e)³, which is 4 w (x³ + 3 x s²)."""
    ratios = []
    for seed in range(20):
        batch = powered(4, seed)
        images = batch.images.flatten(1)
        scale = SIGMA * float(images.max() - images.min())
        exact = 4 * batch.model.network.weights * (images**3 + 3 * images * scale**2)
        moments = noise_moments(batch, Tolerance(0.1, 2000), SIGMA, antithetic=antithetic)
        assert float(moments.relative_error) <= 0.1
        ratios.append(float(norms(moments.mean.flatten(1) - exact) / norms(moments.mean) / moments.relative_error))
    assert max(ratios) <= 1.5
    assert float(torch.tensor(ratios).square().mean().sqrt()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("antithetic", [False, True])
def test_each_sample_has_its_own_count_and_the_same_moments_alone(antithetic):
    batch = residual_batch()
    count = Tolerance(0.15, 60)
    moments = noise_moments(batch, count, SIGMA, antithetic=antithetic)
    assert len(set(moments.samples.tolist())) > 1
    for index, single in enumerate(batch.singles()):
        alone = noise_moments(single, count, SIGMA, antithetic=antithetic)
        for name in ("samples", "passes", "mean", "variance", "standard_error"):
            assert torch.equal(getattr(moments, name)[[index]], getattr(alone, name))
        fixed = noise_moments(single, int(alone.samples), SIGMA, antithetic=antithetic)
        torch.testing.assert_close(alone.mean, fixed.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(alone.variance, fixed.variance, rtol=1e-10, atol=1e-14)


def test_drawing_ends_at_the_first_count_with_a_small_enough_error():
    batch = residual_batch(1)
    moments = noise_moments(batch, Tolerance(0.15, 400), SIGMA)
    counts = [16, 20, 26, 34, 44, 56, 70, 88, 110, 138, 174, 218, 274, 344]
    index = counts.index(int(moments.samples))
    assert index > 0
    assert float(moments.relative_error) <= 0.15
    assert float(noise_moments(batch, counts[index - 1], SIGMA).relative_error) > 0.15


def test_the_limit_is_obeyed_and_noted():
    batch = residual_batch()
    count = Tolerance(1e-6, 19)
    moments = noise_moments(batch, count, SIGMA)
    assert moments.samples.tolist() == [19] * 3
    notes = sampling_notes(moments, count)
    assert notes == {
        "passes": [19] * 3, "relative_error": moments.relative_error.tolist(), "stopped_by": ["limit"] * 3,
    }  # fmt: skip
    large = Tolerance(9, 19)
    assert sampling_notes(noise_moments(batch, large, SIGMA), large)["stopped_by"] == ["tolerance"] * 3


def test_without_noise_drawing_ends_at_once_and_without_finite_values_it_is_refused():
    assert noise_moments(residual_batch(), Tolerance(1e-6, 500), 0.0).samples.tolist() == [16] * 3
    broken = residual_batch().at(torch.full((3, 3, 16, 16), float("nan"), dtype=torch.float64))
    with pytest.raises(DataError, match="not finite"):
        noise_moments(broken, Tolerance(1e-6, 500), SIGMA)


@pytest.mark.parametrize(("samples", "antithetic"), [(1, False), (2, True)])
def test_one_draw_has_no_error(samples, antithetic):
    moments = noise_moments(residual_batch(), samples, SIGMA, antithetic=antithetic)
    assert bool(moments.relative_error.isnan().all())
    assert sampling_notes(moments, samples) == {"passes": [samples] * 3}


@pytest.mark.parametrize(("count", "rows", "expected"), [(1, 8, [8, 8, 4]), (3, 7, [7] * 8 + [4]), (3, 2, [2] * 30)])
def test_few_samples_fill_a_pass(pass_sizes, count, rows, expected):
    moments = noise_moments(residual_batch(count, rows=rows), 20, SIGMA)
    assert pass_sizes == expected
    assert_equal(moments, noise_moments(residual_batch(count, rows=1), 20, SIGMA))


def test_copies_that_do_not_fit_get_smaller_passes(monkeypatch, pass_sizes):
    """Out of memory halves the pass at which it happens, and all that follow."""
    batch = residual_batch(1, rows=8)
    forward = View.__call__
    whole = noise_moments(residual_batch(1, rows=1), 20, SIGMA)
    pass_sizes.clear()

    def limited(view, images, *arguments, **settings):
        if len(images) > 4:
            raise torch.OutOfMemoryError
        return forward(view, images, *arguments, **settings)

    monkeypatch.setattr(View, "__call__", limited)
    assert_equal(noise_moments(batch, 20, SIGMA), whole)
    assert pass_sizes == [4] * 5


def test_rows_do_not_change_when_a_sample_stops():
    reference = noise_moments(residual_batch(rows=1), Tolerance(0.15, 60), SIGMA)
    for rows in (2, 16):
        moments = noise_moments(residual_batch(rows=rows), Tolerance(0.15, 60), SIGMA)
        assert torch.equal(moments.samples, reference.samples)
        assert_equal(moments, reference)


def assert_equal(first: Moments, second: Moments) -> None:
    torch.testing.assert_close(first.mean, second.mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(first.variance, second.variance, rtol=1e-10, atol=1e-14)


def test_further_inputs_stay_with_their_sample():
    """In a pass with copies of two samples, each copy has the input of its sample."""

    class Weighted(nn.Module):
        def forward(self, images: Tensor, weight: Tensor) -> Tensor:
            return (images.flatten(1) * weight[:, None]).sum(1, keepdim=True)

    class WeightedSum(Powered):
        def build(self) -> nn.Module:
            return Weighted()

    weights = torch.tensor([2.0, 5.0], dtype=torch.float64)
    batch = Batch(WeightedSum(1), ["a", "b"], random(2, 1, 4, 4), [0, 0], inputs={"weight": weights}, rows=5)
    moments = noise_moments(batch, 6, SIGMA)
    torch.testing.assert_close(moments.mean, weights[:, None, None, None].expand(2, 1, 4, 4), rtol=1e-12, atol=0)


def test_one_row_has_the_bits_of_one_draw_after_the_other():
    batch = residual_batch(1, rows=1)
    scale = SIGMA * (batch.images.amax((1, 2, 3), keepdim=True) - batch.images.amin((1, 2, 3), keepdim=True))
    mean = squares = torch.zeros_like(batch.images)
    for draw in range(6):
        noisy = (batch.images + scale * batch.noise(draw)).requires_grad_()
        values = torch.autograd.grad(batch.view(noisy, {})[0]["logits"][0, 0], noisy)[0]
        step = values - mean
        mean = mean + step / (draw + 1)
        squares = squares + step * (values - mean)
    moments = noise_moments(batch, 6, SIGMA)
    assert torch.equal(moments.mean, mean)
    assert torch.equal(moments.variance, squares / 6)


@pytest.mark.parametrize(("base", "expected"), [(Twice(), [8, 8, 8]), (Adaptive(), [4, 8, 4])])
def test_passes_are_those_of_the_base(base, expected):
    moments = noise_moments(residual_batch(), 4, SIGMA, base=base)
    assert moments.passes.tolist() == expected
    assert moments.samples.tolist() == [4] * 3


def test_a_base_sees_the_same_copies_under_the_same_tolerance():
    batch = residual_batch()
    count = Tolerance(0.15, 60)
    plain = noise_moments(batch, count, SIGMA)
    doubled = noise_moments(batch, count, SIGMA, base=Twice())
    assert torch.equal(plain.samples, doubled.samples)
    torch.testing.assert_close(doubled.mean, 2 * plain.mean, rtol=1e-10, atol=1e-13)


def test_antithetic_draws_are_part_of_the_key():
    batch = residual_batch()
    independent, paired = (noise_moments(batch, 4, SIGMA, antithetic=antithetic) for antithetic in (False, True))
    assert not torch.equal(independent.mean, paired.mean)


@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_of_rows_gives_the_same_variance(rows):
    parts, whole = (noise_moments(residual_batch(**changes), 3, 0.1).variance for changes in ({"rows": rows}, {}))
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def test_settings_are_part_of_the_key():
    batch = residual_batch()
    settings = [{"samples": 2}, {"samples": 2, "sigma": 0.2}, {"samples": 2, "relative": False}, {"samples": 3}]
    means = [noise_moments(batch, **{"sigma": 0.1} | changes).mean for changes in settings]
    assert not any(torch.equal(first, second) for first, second in combinations(means, 2))


def test_noisy_gradients_observe_no_layer(monkeypatch):
    batch = residual_batch(layers=Residual().layers())
    captures = []
    forward = View.__call__
    assert batch.layers

    def counted(view, images, inputs, capture=(), *arguments):
        captures.append(tuple(capture))
        return forward(view, images, inputs, capture, *arguments)

    monkeypatch.setattr(View, "__call__", counted)
    noise_moments(batch, 2, 0.1)
    assert set(captures) == {()}


def test_a_training_loss_reaches_the_weights():
    batch = residual_batch(2, differentiable=True)
    loss = noise_moments(batch, 2, 0.1).squares.square().sum()
    (gradient,) = torch.autograd.grad(loss, batch.model.network.stem.weight)
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("largest", [1.5e38, 3e38])
def test_noise_beyond_the_largest_number_is_refused(largest, antithetic):
    """The image is finite, but its range or its noisy copies are not; a ReLU would turn them into a map of zeros."""
    image = torch.full((1, 3, 16, 16), largest)
    image[..., 8:] *= -1
    batch = Batch(Residual(), ["a"], image, [0])
    with pytest.raises(DataError, match="a noisy copy of a holds values that are not finite; lower sigma"):
        noise_moments(batch, 2, 10.0, antithetic=antithetic)
