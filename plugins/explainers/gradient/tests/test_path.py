"""Checks that path gradients compute every midpoint once, estimate their error, and fill each pass."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.views import View
from heatproof.passes import logits
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual
from heatproof_gradient.path import path_gradients, reference_scores
from heatproof_gradient.references import constant
from heatproof_shared_passes.sampling import Tolerance, sampling_notes


class Product(nn.Module):
    """x1 x2 + x1²: at (2, 3) its integrated gradients from zero are (7, 3)."""

    def forward(self, images: Tensor) -> Tensor:
        values = images.flatten(1)
        return (values[:, 0] * values[:, 1] + values[:, 0] ** 2)[:, None]


class Hinges(nn.Module):
    """The sum of weight · relu(x - threshold): the gradient of each pixel jumps once on the path from zero."""

    def __init__(self, thresholds: Tensor, weights: Tensor):
        super().__init__()
        self.register_buffer("thresholds", thresholds)
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        return (torch.relu(images.flatten(1) - self.thresholds) * self.weights).sum(1, keepdim=True)


@pytest.fixture
def passes(monkeypatch):
    """The number of images in every forward that needs gradients, and the number of backward calls."""
    sizes = []
    calls = Counter()
    forward = View.__call__
    backward = torch.autograd.grad

    def counted_forward(view, images, *arguments, **settings):
        if images.requires_grad:
            sizes.append(len(images))
        return forward(view, images, *arguments, **settings)

    monkeypatch.setattr(View, "__call__", counted_forward)
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: calls.update(["backward"]) or backward(*arguments, **settings),
    )
    return sizes, calls


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch_of(count: int = 3, scales: tuple[float, ...] = (1.0, 3.0, 0.2), **changes: object) -> Batch:
    model = in_float64(Residual())
    images = random(count, 3, 16, 16) * torch.tensor(scales[:count], dtype=torch.float64).reshape(-1, 1, 1, 1)
    assert isinstance(model.view(images, {}), View)
    return Batch(model, list("abc")[:count], images, [0, 1, 2][:count], **changes)


def product_batch() -> Batch:
    """The image (2, 3) and the model x1 x2 + x1²."""
    return Batch(
        Model.of(Product(), "a"), ["a"], torch.tensor([2.0, 3.0], dtype=torch.float64).reshape(1, 1, 1, 2), [0]
    )


def hinge_batch(pixels: int, seed: int) -> tuple[Batch, Tensor]:
    """A batch with gradients that jump at random positions, and its exact map."""
    thresholds = random(pixels, seed=seed)
    weights = random(pixels, seed=seed + 1000) - 0.5
    images = torch.ones(1, 1, 1, pixels, dtype=torch.float64)
    exact = torch.relu(1 - thresholds) * weights
    return Batch(Model.of(Hinges(thresholds, weights), "a"), ["a"], images, [0]), exact


def midpoints(batch: Batch, steps: int) -> Tensor:
    """The mean gradient by a plain loop over the network itself, one image at a time."""
    means = []
    for image, target in zip(batch.images, batch.targets):
        total = torch.zeros_like(image)
        for step in range(steps):
            point = (image * ((step + 0.5) / steps))[None].requires_grad_()
            total = total + torch.autograd.grad(batch.model.network(point)[0, target], point)[0][0]
        means.append(total / steps)
    return torch.stack(means)


def size(values: Tensor) -> float:
    return float(values.flatten().norm())


@pytest.mark.parametrize(("tolerance", "passes"), [(0.05, 25), (1e-9, 675)])
def test_any_number_of_midpoints_is_exact_for_a_product(tolerance, passes):
    actual = path_gradients(product_batch(), Tolerance(tolerance, 675))
    assert (actual.mean * product_batch().images).flatten().tolist() == pytest.approx([7, 3], rel=1e-13)
    assert float(actual.gap) == pytest.approx(0, abs=1e-12)
    assert int(actual.passes) == passes


def test_the_error_estimate_of_a_product_has_its_closed_form():
    """The map at position a in 0…1 of the path is a (14, 6), so each of the n - 1 jumps of n steps is (14, 6) / n."""
    actual = path_gradients(product_batch(), 25)
    expected = (232 / 12) ** 0.5 / 25**1.5 / 58**0.5
    assert float(actual.relative_error) == pytest.approx(expected, rel=1e-9)


def test_every_midpoint_is_computed_once(passes):
    batch = batch_of(rows=1)
    actual = path_gradients(batch, Tolerance(1e-12, 80))
    assert actual.passes.tolist() == [75] * 3
    assert passes[1]["backward"] == 3 * 75
    torch.testing.assert_close(actual.mean, midpoints(batch, 75), rtol=1e-12, atol=1e-14)


def test_each_sample_stops_on_its_own_as_if_it_were_alone():
    batch = batch_of()
    actual = path_gradients(batch, Tolerance(0.03, 675))
    assert actual.passes.tolist() == [75, 75, 25]
    for index, single in enumerate(batch.singles()):
        alone = path_gradients(single, Tolerance(0.03, 675))
        assert torch.equal(actual.mean[[index]], alone.mean)
        assert torch.equal(actual.passes[[index]], alone.passes)
        torch.testing.assert_close(actual.relative_error[[index]], alone.relative_error, rtol=1e-9, atol=0)
        steps = int(alone.passes)
        torch.testing.assert_close(alone.mean, midpoints(single, steps), rtol=1e-12, atol=1e-14)
        assert float(alone.relative_error) <= 0.03
        if steps > 25:
            assert float(path_gradients(single, Tolerance(0.03, steps - 1)).relative_error) > 0.03


def test_a_limit_ends_the_refinement_and_is_noted():
    batch = batch_of()
    count = Tolerance(1e-9, 30)
    actual = path_gradients(batch, count)
    assert actual.passes.tolist() == [25] * 3
    notes = sampling_notes(actual, count)
    assert notes["stopped_by"] == ["limit"] * 3
    assert notes["relative_error"] == actual.relative_error.tolist()
    assert path_gradients(batch, Tolerance(1e-9, 7)).passes.tolist() == [7] * 3
    assert (
        sampling_notes(path_gradients(batch, Tolerance(0.9, 30)), Tolerance(0.9, 30))["stopped_by"] == ["tolerance"] * 3
    )


@pytest.mark.parametrize("pixels", [40, 1000])
def test_the_error_estimate_is_right_if_gates_open_at_random_positions(pixels):
    ratios = []
    for seed in range(30):
        batch, exact = hinge_batch(pixels, seed)
        actual = path_gradients(batch, 25)
        error = size(actual.mean.flatten() - exact) / size(actual.mean)
        ratios.append(error / float(actual.relative_error))
    squares = torch.tensor(ratios).square()
    assert max(ratios) <= 1.5
    assert 0.8 <= float(squares.mean().sqrt()) <= 1.1


def test_a_gap_reveals_a_peak_between_the_points():
    """A gate that opens and closes between two midpoints does not change any gradient at a midpoint."""
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
    actual = [
        path_gradients(Batch(Model.of(Shared(model.network), "a"), ["a"], image, [0]), 25) for model in (calm, peaked)
    ]
    assert torch.equal(actual[0].mean, actual[1].mean)
    exact = torch.tensor([0.7, 60 * 0.009], dtype=torch.float64)
    error = size(actual[1].mean.flatten() - exact) / size(actual[1].mean)
    assert error > 10 * float(actual[0].relative_error)
    assert error <= 1.5 * float(actual[1].relative_error)


@pytest.mark.parametrize(("steps", "rule"), [(1, "midpoint"), (8, "left"), (8, "right")])
def test_an_unknown_error_is_not_noted(steps, rule):
    actual = path_gradients(batch_of(), steps, rule)
    assert bool(actual.relative_error.isnan().all())
    assert sampling_notes(actual, steps) == {"passes": [steps] * 3}


def test_an_image_equal_to_the_reference_has_no_error():
    batch = batch_of().at(torch.zeros(3, 3, 16, 16, dtype=torch.float64))
    actual = path_gradients(batch, Tolerance(0.01, 675))
    assert actual.relative_error.tolist() == [0, 0, 0]
    assert actual.passes.tolist() == [25] * 3


def test_an_image_that_is_not_finite_is_not_refined():
    images = batch_of().images.clone()
    images[1, 0, 0, 0] = float("nan")
    assert path_gradients(batch_of().at(images), Tolerance(0.03, 675)).passes[1] == 25


@pytest.mark.parametrize(("count", "rows", "expected"), [(1, 8, [8, 8, 4]), (3, 7, [7] * 8 + [4]), (3, 2, [2] * 30)])
def test_few_samples_fill_a_pass(passes, count, rows, expected):
    actual = path_gradients(batch_of(count, rows=rows), 20)
    assert passes[0] == expected
    torch.testing.assert_close(actual.mean, path_gradients(batch_of(count, rows=1), 20).mean, rtol=1e-12, atol=1e-14)


def test_results_do_not_depend_on_the_number_of_rows():
    reference = path_gradients(batch_of(rows=1), Tolerance(0.03, 675))
    for rows in (2, 3, 16):
        actual = path_gradients(batch_of(rows=rows), Tolerance(0.03, 675))
        assert torch.equal(actual.passes, reference.passes)
        torch.testing.assert_close(actual.mean, reference.mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(actual.relative_error, reference.relative_error, rtol=1e-9, atol=0)


def test_one_row_has_the_bits_of_a_loop_over_steps():
    batch = batch_of(1, rows=1)
    total = torch.zeros_like(batch.images)
    for step in range(6):
        point = torch.lerp(torch.zeros_like(total), batch.images, (step + 0.5) / 6).requires_grad_()
        scores = batch.view(point, {})[0]["logits"]
        total = total + torch.autograd.grad(scores[0, 0], point)[0]
    assert torch.equal(path_gradients(batch, 6).mean, total / 6)


@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_of_rows_gives_the_same_means_and_scores(rows):
    whole = batch_of()
    parts = batch_of(rows=rows)
    means = [path_gradients(batch, 3, "left", constant(batch, 0.2)).mean for batch in (whole, parts)]
    torch.testing.assert_close(means[1], means[0], rtol=1e-9, atol=1e-12)
    scores = [reference_scores(batch, constant(batch, 0.5)) for batch in (parts, whole)]
    torch.testing.assert_close(*scores, rtol=1e-9, atol=1e-12)


def test_settings_are_part_of_the_key():
    batch = batch_of()
    maps = [
        path_gradients(batch, 2).mean, path_gradients(batch, 3).mean, path_gradients(batch, 2, "left").mean,
        path_gradients(batch, 2, reference=constant(batch, 0.1)).mean,
    ]  # fmt: skip
    assert not any(torch.equal(first, second) for first, second in combinations(maps, 2))


def test_the_path_observes_no_layer(monkeypatch):
    batch = batch_of(layers=("stem", "last"))
    captured = []
    forward = View.__call__
    monkeypatch.setattr(
        View, "__call__", lambda view, images, inputs, capture=(), *arguments: captured.append(tuple(capture))
        or forward(view, images, inputs, capture, *arguments),
    )  # fmt: skip
    path_gradients(batch, 2)
    assert set(captured) == {()}


@pytest.fixture
def counts(monkeypatch):
    """The numbers of forward and backward passes."""
    counts = Counter()
    forward = View.__call__
    backward = torch.autograd.grad
    monkeypatch.setattr(
        View, "__call__", lambda *arguments, **settings: counts.update(["forward"]) or forward(*arguments, **settings)
    )
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: counts.update(["backward"]) or backward(*arguments, **settings),
    )
    return counts


def test_the_scores_of_a_constant_image_are_those_of_the_network(counts):
    batch = batch_of()
    counts.clear()
    actual = reference_scores(batch, constant(batch, 0.25))
    assert counts == {"forward": 1}
    expected = batch.model.network(torch.full_like(batch.images, 0.25)).gather(1, batch.targets[:, None])[:, 0]
    torch.testing.assert_close(actual, expected.detach(), rtol=1e-12, atol=1e-12)


def test_a_path_takes_only_the_necessary_passes(counts):
    """One per step, and one for the score of the reference; the score of the image is that of the prediction."""
    batch = batch_of(1)
    counts.clear()
    logits(batch)
    assert counts.pop("forward") == 1
    path_gradients(batch, 64)
    assert counts == {"forward": 64 + 1, "backward": 64}
    reference_scores(batch, constant(batch, 0.0))
    path_gradients(batch, 64)
    assert counts == {"forward": 64 + 1, "backward": 64}


def test_a_training_loss_has_gradients_of_the_weights():
    batch = batch_of(2, differentiable=True)
    values: Tensor = path_gradients(batch, 2).mean
    (actual,) = torch.autograd.grad(values.square().sum(), batch.model.network.stem.weight)
    assert float(actual.abs().max()) > 0
