"""Path gradients: every midpoint taken once, an honest estimate of their error, and full passes."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.views import View
from heatproof.passes import logits
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual
from heatproof_gradient.path import constant_scores, path_gradients
from heatproof_shared_passes.sampling import Tolerance, sampling_notes


class Product(nn.Module):
    """x1 x2 + x1², the function of vector V-IG."""

    def forward(self, images: Tensor) -> Tensor:
        values = images.flatten(1)
        return (values[:, 0] * values[:, 1] + values[:, 0] ** 2)[:, None]


class Hinges(nn.Module):
    """The sum of weight · relu(x - threshold): its gradient by each pixel jumps once on the way from zero."""

    def __init__(self, thresholds: Tensor, weights: Tensor):
        super().__init__()
        self.register_buffer("thresholds", thresholds)
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        return (torch.relu(images.flatten(1) - self.thresholds) * self.weights).sum(1, keepdim=True)


@pytest.fixture
def passed(monkeypatch):
    """Counts the images of every forward, and backward calls."""
    sizes, calls = [], Counter()
    forward, backward = View.__call__, torch.autograd.grad

    def counted(view, images, *rest, **settings):
        if images.requires_grad:
            sizes.append(len(images))
        return forward(view, images, *rest, **settings)

    monkeypatch.setattr(View, "__call__", counted)
    monkeypatch.setattr(torch.autograd, "grad", lambda *given, **set: calls.update("b") or backward(*given, **set))
    return sizes, calls


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(count: int = 3, scales: tuple[float, ...] = (1.0, 3.0, 0.2), **changes: object) -> Batch:
    model = in_float64(Residual())
    images = random(count, 3, 16, 16) * torch.tensor(scales[:count], dtype=torch.float64).reshape(-1, 1, 1, 1)
    assert isinstance(model.view(images, {}), View)
    return Batch(model, list("abc")[:count], images, [0, 1, 2][:count], **changes)


def pair() -> Batch:
    return Batch(
        Model.of(Product(), "a"), ["a"], torch.tensor([2.0, 3.0], dtype=torch.float64).reshape(1, 1, 1, 2), [0]
    )


def hinged(pixels: int, seed: int) -> tuple[Batch, Tensor]:
    """A batch whose gradients jump at random places, and its exact map."""
    thresholds, weights = random(pixels, seed=seed), random(pixels, seed=seed + 1000) - 0.5
    images = torch.ones(1, 1, 1, pixels, dtype=torch.float64)
    exact = torch.relu(1 - thresholds) * weights
    return Batch(Model.of(Hinges(thresholds, weights), "a"), ["a"], images, [0]), exact


def midpoints(made: Batch, steps: int) -> Tensor:
    """The mean gradient by a plain loop over the network itself, one image at a time."""
    means = []
    for image, target in zip(made.images, made.targets):
        total = torch.zeros_like(image)
        for step in range(steps):
            point = (image * ((step + 0.5) / steps))[None].requires_grad_()
            total = total + torch.autograd.grad(made.model.network(point)[0, target], point)[0][0]
        means.append(total / steps)
    return torch.stack(means)


def size(values: Tensor) -> float:
    return float(values.flatten().norm())


@pytest.mark.parametrize("asked", [0.05, 1e-9])
def test_the_vector_v_ig_is_exact_for_midpoints_of_any_number(asked):
    found = path_gradients(pair(), Tolerance(asked, 675))
    assert (found.mean * pair().images).flatten().tolist() == pytest.approx([7, 3], rel=1e-13)
    assert float(found.gap) == pytest.approx(0, abs=1e-12)
    assert int(found.passes) == (25 if asked == 0.05 else 675)


def test_the_estimate_of_the_vector_is_its_closed_form():
    """The map at a share a of the way is a (14, 6); of n steps, n - 1 jumps are (14, 6) / n each."""
    found = path_gradients(pair(), 25)
    expected = (232 / 12) ** 0.5 / 25**1.5 / 58**0.5
    assert float(found.relative_error) == pytest.approx(expected, rel=1e-9)


def test_every_midpoint_is_taken_once_and_stays_in_use(passed):
    made = batch(rows=1)
    found = path_gradients(made, Tolerance(1e-12, 80))
    assert found.passes.tolist() == [75] * 3
    assert passed[1]["b"] == 3 * 75
    torch.testing.assert_close(found.mean, midpoints(made, 75), rtol=1e-12, atol=1e-14)


def test_samples_stop_by_themselves_and_are_the_same_alone():
    made = batch()
    found = path_gradients(made, Tolerance(0.03, 675))
    assert found.passes.tolist() == [75, 75, 25]
    for index, single in enumerate(made.singles()):
        alone = path_gradients(single, Tolerance(0.03, 675))
        assert torch.equal(found.mean[[index]], alone.mean)
        assert torch.equal(found.passes[[index]], alone.passes)
        torch.testing.assert_close(found.relative_error[[index]], alone.relative_error, rtol=1e-9, atol=0)
        steps = int(alone.passes)
        torch.testing.assert_close(alone.mean, midpoints(single, steps), rtol=1e-12, atol=1e-14)
        assert float(alone.relative_error) <= 0.03
        if steps > 25:
            assert float(path_gradients(single, Tolerance(0.03, steps - 1)).relative_error) > 0.03


def test_the_limit_is_kept_and_said():
    made, count = batch(), Tolerance(1e-9, 30)
    found = path_gradients(made, count)
    assert found.passes.tolist() == [25] * 3
    notes = sampling_notes(found, count)
    assert notes["stopped_by"] == ["limit"] * 3
    assert notes["relative_error"] == found.relative_error.tolist()
    assert path_gradients(made, Tolerance(1e-9, 7)).passes.tolist() == [7] * 3
    assert (
        sampling_notes(path_gradients(made, Tolerance(0.9, 30)), Tolerance(0.9, 30))["stopped_by"] == ["tolerance"] * 3
    )


@pytest.mark.parametrize("pixels", [40, 1000])
def test_the_estimate_is_honest_where_gates_open_at_random_places(pixels):
    ratios = []
    for seed in range(30):
        made, exact = hinged(pixels, seed)
        found = path_gradients(made, 25)
        error = size(found.mean.flatten() - exact) / size(found.mean)
        ratios.append(error / float(found.relative_error))
    squares = torch.tensor(ratios).square()
    assert max(ratios) <= 1.5
    assert 0.8 <= float(squares.mean().sqrt()) <= 1.1


def test_a_peak_between_the_points_is_seen_by_the_gap():
    """A gate that opens and shuts between two midpoints leaves every gradient as it was."""
    thresholds = torch.tensor([0.3, 0.701, 0.71], dtype=torch.float64)
    calm, peaked = (
        Model.of(Hinges(thresholds, torch.tensor([1.0, peak, -peak], dtype=torch.float64)), "a") for peak in (0.0, 60.0)
    )

    class Shared(nn.Module):
        def __init__(self, hinges: nn.Module):
            super().__init__()
            self.hinges = hinges

        def forward(self, images: Tensor) -> Tensor:
            values = images.flatten(1)
            return self.hinges(torch.cat([values[:, :1], values[:, 1:], values[:, 1:]], 1))

    image = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = [
        path_gradients(Batch(Model.of(Shared(model.network), "a"), ["a"], image, [0]), 25) for model in (calm, peaked)
    ]
    assert torch.equal(found[0].mean, found[1].mean)
    exact = torch.tensor([0.7, 60 * 0.009], dtype=torch.float64)
    error = size(found[1].mean.flatten() - exact) / size(found[1].mean)
    assert error > 10 * float(found[0].relative_error)
    assert error <= 1.5 * float(found[1].relative_error)


@pytest.mark.parametrize(("steps", "rule"), [(1, "midpoint"), (8, "left"), (8, "right")])
def test_no_error_is_named_where_none_is_known(steps, rule):
    found = path_gradients(batch(), steps, rule)
    assert bool(found.relative_error.isnan().all())
    assert sampling_notes(found, steps) == {"passes": [steps] * 3}


def test_an_image_at_the_baseline_has_no_error():
    made = batch().at(torch.zeros(3, 3, 16, 16, dtype=torch.float64))
    found = path_gradients(made, Tolerance(0.01, 675))
    assert found.relative_error.tolist() == [0, 0, 0]
    assert found.passes.tolist() == [25] * 3


def test_an_image_that_is_not_finite_does_not_go_on():
    images = batch().images.clone()
    images[1, 0, 0, 0] = float("nan")
    assert path_gradients(batch().at(images), Tolerance(0.03, 675)).passes[1] == 25


@pytest.mark.parametrize(("count", "rows", "expected"), [(1, 8, [8, 8, 4]), (3, 7, [7] * 8 + [4]), (3, 2, [2] * 30)])
def test_few_samples_fill_a_pass(passed, count, rows, expected):
    found = path_gradients(batch(count, rows=rows), 20)
    assert passed[0] == expected
    torch.testing.assert_close(found.mean, path_gradients(batch(count, rows=1), 20).mean, rtol=1e-12, atol=1e-14)


def test_rows_do_not_change_when_a_sample_stops():
    reference = path_gradients(batch(rows=1), Tolerance(0.03, 675))
    for rows in (2, 3, 16):
        found = path_gradients(batch(rows=rows), Tolerance(0.03, 675))
        assert torch.equal(found.passes, reference.passes)
        torch.testing.assert_close(found.mean, reference.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found.relative_error, reference.relative_error, rtol=1e-9, atol=0)


def test_one_row_has_the_bits_of_one_step_after_the_other():
    made = batch(1, rows=1)
    total = torch.zeros_like(made.images)
    for step in range(6):
        point = torch.lerp(torch.zeros_like(total), made.images, (step + 0.5) / 6).requires_grad_()
        scores = made.view(point, {})[0]["logits"]
        total = total + torch.autograd.grad(scores[0, 0], point)[0]
    assert torch.equal(path_gradients(made, 6).mean, total / 6)


@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_of_rows_gives_the_same_means_and_scores(rows):
    whole, parts = batch(), batch(rows=rows)
    means = [path_gradients(made, 3, "left", 0.2).mean for made in (whole, parts)]
    torch.testing.assert_close(means[1], means[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(constant_scores(parts, 0.5), constant_scores(whole, 0.5), rtol=1e-9, atol=1e-12)


def test_settings_are_part_of_the_key():
    made = batch()
    maps = [
        path_gradients(made, 2).mean, path_gradients(made, 3).mean, path_gradients(made, 2, "left").mean,
        path_gradients(made, 2, baseline=0.1).mean,
    ]  # fmt: skip
    assert all(not torch.equal(one, other) for index, one in enumerate(maps) for other in maps[:index])


def test_the_path_observes_no_layer(monkeypatch):
    made, captured, forward = batch(layers=("stem", "last")), [], View.__call__
    monkeypatch.setattr(
        View, "__call__", lambda view, images, inputs, capture=(), *rest: captured.append(tuple(capture))
        or forward(view, images, inputs, capture, *rest),
    )  # fmt: skip
    path_gradients(made, 2)
    assert set(captured) == {()}


@pytest.fixture
def counts(monkeypatch):
    """Counts forwards of views and calls of autograd.grad."""
    counts, forward, backward = Counter(), View.__call__, torch.autograd.grad
    monkeypatch.setattr(View, "__call__", lambda *given, **set: counts.update(["forward"]) or forward(*given, **set))
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *given, **set: counts.update(["backward"]) or backward(*given, **set)
    )
    return counts


def test_the_scores_of_a_constant_image_are_the_networks_own(counts):
    made = batch()
    counts.clear()
    found = constant_scores(made, 0.25)
    assert counts == {"forward": 1}
    expected = made.model.network(torch.full_like(made.images, 0.25)).gather(1, made.targets[:, None])[:, 0]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)


def test_a_path_takes_the_necessary_passes_and_no_more(counts):
    """One per step, and the score of the baseline; that of the image is the prediction's."""
    made = batch(1)
    counts.clear()
    logits(made)
    assert counts.pop("forward") == 1
    path_gradients(made, 64)
    assert counts == {"forward": 64 + 1, "backward": 64}
    constant_scores(made, 0.0)
    path_gradients(made, 64)
    assert counts == {"forward": 64 + 1, "backward": 64}


def test_a_training_loss_reaches_the_weights():
    made = batch(2, differentiable=True)
    values: Tensor = path_gradients(made, 2).mean
    (found,) = torch.autograd.grad(values.square().sum(), made.model.network.stem.weight)
    assert float(found.abs().max()) > 0
