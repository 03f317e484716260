"""Moments under noise: antithetic pairs, an honest standard error that decides the count, and full passes."""

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import PluginError
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
        self.weights, self.exponent = random(pixels, seed=5) - 0.3, exponent

    def build(self) -> nn.Module:
        return Power(self.weights, self.exponent)


class Twice(Explainer):
    """A base that takes two backward passes, and says so before; or one for each sample, and says so after."""

    passes = (2, 2)

    def explain(self, batch: Batch) -> Explanation:
        notes = {"passes": [1 + int(id == "b") for id in batch.ids]} if self.adaptive else {}
        return Explanation(gradients(batch).images * 2, notes=notes)

    adaptive = False


class Adaptive(Twice):
    """A base whose passes differ from sample to sample."""

    adaptive = True


@pytest.fixture
def passed(monkeypatch):
    """The number of images of each forward with gradient."""
    sizes = []
    forward = View.__call__

    def counted(view, images, *rest, **settings):
        if images.requires_grad:
            sizes.append(len(images))
        return forward(view, images, *rest, **settings)

    monkeypatch.setattr(View, "__call__", counted)
    return sizes


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(count: int = 3, **changes: object) -> Batch:
    model = in_float64(Residual())
    images = random(count, 3, 16, 16) * torch.tensor([1.0, 3.0, 0.2], dtype=torch.float64)[:count, None, None, None]
    assert isinstance(model.view(images, {}), View)
    return Batch(model, list("abc")[:count], images, [0, 1, 2][:count], **changes)


def powered(exponent: int, seed: int = 0) -> Batch:
    return Batch(Powered(exponent), ["a"], random(1, 1, 20, 20, seed=9), [0], seed=seed)


def maps(made: Batch, samples: int, antithetic: bool = False) -> Tensor:
    """The gradient of every noisy copy (draw, n, c, *space), by a plain loop over the network itself."""
    flat = made.images.flatten(1)
    scale = SIGMA * (flat.max(1).values - flat.min(1).values)[:, None, None, None]
    found = []
    for draw in range(samples):
        noise = made.noise(draw) if not antithetic else made.noise(draw // 2) * (-1 if draw % 2 else 1)
        noisy = (made.images + scale * noise).requires_grad_()
        chosen = made.model.network(noisy).gather(1, made.targets[:, None]).sum()
        found.append(torch.autograd.grad(chosen, noisy)[0])
    return torch.stack(found)


def norms(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


@pytest.mark.parametrize("antithetic", [False, True])
def test_a_plain_loop_agrees(antithetic):
    made = batch()
    found, drawn = noise_moments(made, 10, SIGMA, antithetic=antithetic), maps(made, 10, antithetic)
    independent = drawn.reshape(5, 2, *drawn.shape[1:]).mean(1) if antithetic else drawn
    error = independent.std(0) / len(independent) ** 0.5
    torch.testing.assert_close(found.mean, drawn.mean(0), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found.squares, drawn.square().mean(0), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found.variance, drawn.var(0, unbiased=False), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.standard_error, error, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.relative_error, norms(error) / norms(drawn.mean(0)), rtol=1e-9, atol=0)
    assert found.samples.tolist() == found.passes.tolist() == [10] * 3


def test_pairs_are_exact_where_the_gradient_is_linear():
    """Of a square the two gradients of a pair average to the plain one."""
    made = powered(2)
    pairs, single = (noise_moments(made, 8, SIGMA, antithetic=antithetic) for antithetic in (True, False))
    torch.testing.assert_close(pairs.mean, gradients(made).images, rtol=1e-12, atol=1e-14)
    assert float(pairs.relative_error) < 1e-12
    assert float(single.relative_error) > 0.01
    assert float(pairs.variance.mean()) == pytest.approx(float(single.variance.mean()), rel=0.3)


def test_pairs_need_fewer_copies_of_a_fourth_power():
    """Of 4 x³ only the odd part of the noise cancels: a standard error below that of as many independent copies."""
    pairs, single = (noise_moments(powered(4), 200, SIGMA, antithetic=antithetic) for antithetic in (True, False))
    assert float(pairs.relative_error) < 0.8 * float(single.relative_error)


@pytest.mark.parametrize("samples", [3, Tolerance(0.1, 25)])
def test_half_a_pair_is_refused(samples):
    with pytest.raises(PluginError, match="must be even"):
        noise_moments(batch(), samples, SIGMA, antithetic=True)


@pytest.mark.parametrize("antithetic", [False, True])
def test_the_standard_error_is_honest(antithetic):
    """Against the closed form of the mean of 4 w (x + e)³, which is 4 w (x³ + 3 x s²)."""
    ratios = []
    for seed in range(20):
        made = powered(4, seed)
        images = made.images.flatten(1)
        scale = SIGMA * float(images.max() - images.min())
        exact = 4 * made.model.network.weights * (images**3 + 3 * images * scale**2)
        found = noise_moments(made, Tolerance(0.1, 2000), SIGMA, antithetic=antithetic)
        assert float(found.relative_error) <= 0.1
        ratios.append(float(norms(found.mean.flatten(1) - exact) / norms(found.mean) / found.relative_error))
    assert max(ratios) <= 1.5
    assert float(torch.tensor(ratios).square().mean().sqrt()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("antithetic", [False, True])
def test_samples_stop_by_themselves_and_are_the_same_alone(antithetic):
    made, count = batch(), Tolerance(0.15, 60)
    found = noise_moments(made, count, SIGMA, antithetic=antithetic)
    assert len(set(found.samples.tolist())) > 1
    for index, single in enumerate(made.singles()):
        alone = noise_moments(single, count, SIGMA, antithetic=antithetic)
        for name in ("samples", "passes", "mean", "variance", "standard_error"):
            assert torch.equal(getattr(found, name)[[index]], getattr(alone, name))
        fixed = noise_moments(single, int(alone.samples), SIGMA, antithetic=antithetic)
        torch.testing.assert_close(alone.mean, fixed.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(alone.variance, fixed.variance, rtol=1e-10, atol=1e-14)


def test_the_first_count_with_a_small_enough_error_is_taken():
    made = batch(1)
    found = noise_moments(made, Tolerance(0.15, 400), SIGMA)
    counts = [16, 20, 26, 34, 44, 56, 70, 88, 110, 138, 174, 218, 274, 344]
    place = counts.index(int(found.samples))
    assert place > 0
    assert float(found.relative_error) <= 0.15
    assert float(noise_moments(made, counts[place - 1], SIGMA).relative_error) > 0.15


def test_the_limit_is_kept_and_said():
    made, count = batch(), Tolerance(1e-6, 19)
    found = noise_moments(made, count, SIGMA)
    assert found.samples.tolist() == [19] * 3
    notes = sampling_notes(found, count)
    assert notes == {
        "passes": [19] * 3, "relative_error": found.relative_error.tolist(), "stopped_by": ["limit"] * 3,
    }  # fmt: skip
    assert (
        sampling_notes(noise_moments(made, Tolerance(9, 19), SIGMA), Tolerance(9, 19))["stopped_by"]
        == ["tolerance"] * 3
    )


def test_without_noise_and_without_finite_values_drawing_ends_at_once():
    assert noise_moments(batch(), Tolerance(1e-6, 500), 0.0).samples.tolist() == [16] * 3
    broken = batch().at(torch.full((3, 3, 16, 16), float("nan"), dtype=torch.float64))
    assert noise_moments(broken, Tolerance(1e-6, 500), SIGMA).samples.tolist() == [16] * 3


@pytest.mark.parametrize(("samples", "antithetic"), [(1, False), (2, True)])
def test_one_draw_has_no_error(samples, antithetic):
    found = noise_moments(batch(), samples, SIGMA, antithetic=antithetic)
    assert bool(found.relative_error.isnan().all())
    assert sampling_notes(found, samples) == {"passes": [samples] * 3}


@pytest.mark.parametrize(("count", "rows", "expected"), [(1, 8, [8, 8, 4]), (3, 7, [7] * 8 + [4]), (3, 2, [2] * 30)])
def test_few_samples_fill_a_pass(passed, count, rows, expected):
    found = noise_moments(batch(count, rows=rows), 20, SIGMA)
    assert passed == expected
    assert_equal(found, noise_moments(batch(count, rows=1), 20, SIGMA))


def test_copies_that_do_not_fit_are_taken_in_smaller_passes(monkeypatch, passed):
    """Out of memory halves the pass at which it happens, and all that follow."""
    made, forward = batch(1, rows=8), View.__call__
    whole = noise_moments(batch(1, rows=1), 20, SIGMA)
    passed.clear()

    def narrow(view, images, *rest, **settings):
        if len(images) > 4:
            raise torch.OutOfMemoryError
        return forward(view, images, *rest, **settings)

    monkeypatch.setattr(View, "__call__", narrow)
    assert_equal(noise_moments(made, 20, SIGMA), whole)
    assert passed == [4] * 5


def test_rows_do_not_change_when_a_sample_stops():
    reference = noise_moments(batch(rows=1), Tolerance(0.15, 60), SIGMA)
    for rows in (2, 16):
        found = noise_moments(batch(rows=rows), Tolerance(0.15, 60), SIGMA)
        assert torch.equal(found.samples, reference.samples)
        assert_equal(found, reference)


def assert_equal(one: Moments, other: Moments) -> None:
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one.variance, other.variance, rtol=1e-10, atol=1e-14)


def test_further_inputs_go_with_their_sample():
    """Copies of two samples in one pass have each the input of its own."""

    class Weighted(nn.Module):
        def forward(self, images: Tensor, weight: Tensor) -> Tensor:
            return (images.flatten(1) * weight[:, None]).sum(1, keepdim=True)

    class Given(Powered):
        def build(self) -> nn.Module:
            return Weighted()

    weights = torch.tensor([2.0, 5.0], dtype=torch.float64)
    made = Batch(Given(1), ["a", "b"], random(2, 1, 4, 4), [0, 0], inputs={"weight": weights}, rows=5)
    found = noise_moments(made, 6, SIGMA)
    torch.testing.assert_close(found.mean, weights[:, None, None, None].expand(2, 1, 4, 4), rtol=1e-12, atol=0)


def test_one_row_has_the_bits_of_one_draw_after_the_other():
    made = batch(1, rows=1)
    scale = SIGMA * (made.images.amax((1, 2, 3), keepdim=True) - made.images.amin((1, 2, 3), keepdim=True))
    mean = squares = torch.zeros_like(made.images)
    for draw in range(6):
        noisy = (made.images + scale * made.noise(draw)).requires_grad_()
        values = torch.autograd.grad(made.view(noisy, {})[0]["logits"][0, 0], noisy)[0]
        step = values - mean
        mean = mean + step / (draw + 1)
        squares = squares + step * (values - mean)
    found = noise_moments(made, 6, SIGMA)
    assert torch.equal(found.mean, mean)
    assert torch.equal(found.variance, squares / 6)


@pytest.mark.parametrize(("base", "expected"), [(Twice(), [8, 8, 8]), (Adaptive(), [4, 8, 4])])
def test_passes_are_those_of_the_base(base, expected):
    found = noise_moments(batch(), 4, SIGMA, base=base)
    assert found.passes.tolist() == expected
    assert found.samples.tolist() == [4] * 3


def test_a_base_is_under_the_same_copies_and_the_same_rule():
    made, count = batch(), Tolerance(0.15, 60)
    plain, doubled = noise_moments(made, count, SIGMA), noise_moments(made, count, SIGMA, base=Twice())
    assert torch.equal(plain.samples, doubled.samples)
    torch.testing.assert_close(doubled.mean, 2 * plain.mean, rtol=1e-10, atol=1e-13)


def test_antithetic_draws_are_part_of_the_key():
    made = batch()
    one, other = (noise_moments(made, 4, SIGMA, antithetic=antithetic) for antithetic in (False, True))
    assert not torch.equal(one.mean, other.mean)


@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_of_rows_gives_the_same_variance(rows):
    parts, whole = (noise_moments(batch(**changes), 3, 0.1).variance for changes in ({"rows": rows}, {}))
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def test_settings_are_part_of_the_key():
    made = batch()
    settings = [{"samples": 2}, {"samples": 2, "sigma": 0.2}, {"samples": 2, "relative": False}, {"samples": 3}]
    means = [noise_moments(made, **{"sigma": 0.1} | changes).mean for changes in settings]
    assert all(not torch.equal(one, other) for index, one in enumerate(means) for other in means[:index])


def test_noisy_gradients_observe_no_layer(monkeypatch):
    made, captures = batch(layers=Residual().layers()), []
    forward = View.__call__
    assert made.layers
    monkeypatch.setattr(
        View, "__call__", lambda view, images, inputs, capture=(), *rest: captures.append(tuple(capture))
        or forward(view, images, inputs, capture, *rest),
    )  # fmt: skip
    noise_moments(made, 2, 0.1)
    assert set(captures) == {()}


def test_a_training_loss_reaches_the_weights():
    made = batch(2, differentiable=True)
    loss = noise_moments(made, 2, 0.1).squares.square().sum()
    (gradient,) = torch.autograd.grad(loss, made.model.network.stem.weight)
    assert float(gradient.abs().max()) > 0
