"""The SmoothGrad family against an example by hand, plain loops over the draws and captum; its shared passes."""

import pickle
from collections import Counter

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from pydantic import PositiveFloat
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_shared_passes.rectified import rectified
from heatproof_smoothgrad.smoothgrad import SmoothGrad
from heatproof_smoothgrad.smoothgrad_squared import SmoothGradSquared
from heatproof_smoothgrad.vargrad import VarGrad

DRAWS = torch.tensor([[1.0, -2.0], [3.0, 0.0], [2.0, 4.0]], dtype=torch.float64)
FAMILY = (SmoothGrad, SmoothGradSquared, VarGrad)


class Guided(Explainer):
    """A base that is not the gradient."""

    traits = frozenset({"differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return rectified(batch, "guided")


class Drawn(Explainer):
    """A seeded base: the product of the gradient and noise of its own."""

    traits = frozenset({"seeded"})
    passes = (2, 2)

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images * batch.noise(0)


class FirstLayer(Explainer):
    """A base that reads a layer."""

    requires = frozenset({"layers"})

    def layers(self, model: Model) -> tuple[str, ...]:
        return model.layers()[:1]

    def explain(self, batch: Batch) -> Tensor:
        layer = gradients(batch).layers[batch.model.layers()[0]]
        return (layer.activation * layer.gradient).sum(1, keepdim=True)


class FlatParams(Params):
    width: PositiveFloat = 1.0


class Flat(Explainer[FlatParams]):
    """A base for images only."""

    spaces = frozenset({2})

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images


class Listed(Explainer):
    """A base that returns the maps in ``DRAWS`` one after the other."""

    def explain(self, batch: Batch) -> Tensor:
        draw = LISTED["calls"]
        LISTED["calls"] += 1
        return DRAWS[draw].reshape(1, 1, 1, 2)


LISTED = Counter()


def images(count: int = 3, dimensions: int = 2) -> Tensor:
    """Random images with different ranges."""
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(count, 3, *(toys.GRID,) * dimensions, dtype=torch.float64, generator=generator)
    return values * torch.arange(1.0, count + 1).reshape(-1, *(1,) * (dimensions + 1))


def residual_batch(model: Model | None = None, **changes: object) -> Batch:
    model = model or in_float64(toys.Residual())
    return Batch(model, list("abc"), images(), [0, 1, 1], **changes)


def plain_loop(batch: Batch, samples: int, scale: Tensor | float) -> Tensor:
    """The gradient of every noisy copy (draw, n, c, *space), by the network itself."""
    maps = []
    for draw in range(samples):
        noisy = (batch.images + scale * batch.noise(draw)).requires_grad_()
        scores = batch.model.network(noisy).gather(1, batch.targets[:, None]).sum()
        maps.append(torch.autograd.grad(scores, noisy)[0])
    return torch.stack(maps)


@conforms(
    SmoothGrad(samples=3), SmoothGradSquared(samples=2), VarGrad(samples=3, sigma=0.1, relative=False),
    SmoothGrad(samples=1), SmoothGrad(samples=2, base=Guided()), VarGrad(samples=2, base=Drawn()),
    SmoothGradSquared(samples=2, base=FirstLayer()), SmoothGrad(samples=4, antithetic=True),
    VarGrad(tolerance=0.01, max_samples=3),
)  # fmt: skip
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(SmoothGrad, [2, 2 / 3]), (SmoothGradSquared, [14 / 3, 20 / 3]), (VarGrad, [2 / 3, 56 / 9])],
)
def test_the_maps_of_an_example_by_hand(kind, expected):
    LISTED.clear()
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3)).double()
    model = toys.Residual()
    model.__dict__["network"] = network.eval()
    batch = Batch(model, ["a"], torch.zeros(1, 1, 1, 2, dtype=torch.float64), [0])
    heatmap = kind(samples=3, base=Listed())(batch).values
    assert heatmap.flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [None, 2])
@pytest.mark.parametrize("relative", [True, False])
def test_a_plain_loop_agrees(relative, rows):
    batch = residual_batch(rows=rows)
    flat = batch.images.flatten(1)
    scale = 1.0
    if relative:
        scale = (flat.max(1).values - flat.min(1).values)[:, None, None, None]
    maps = plain_loop(batch, 6, 0.15 * scale)
    settings = {"samples": 6, "relative": relative}
    moments = maps.mean(0), maps.square().mean(0), maps.var(0, unbiased=False)
    for kind, moment in zip(FAMILY, moments):
        torch.testing.assert_close(kind(**settings)(batch).values, moment, rtol=1e-9, atol=1e-12)
    error = maps.std(0) / 6**0.5
    notes = SmoothGrad(**settings)(batch).notes["relative_error"]
    ratio = error.flatten(1).norm(dim=1) / maps.mean(0).flatten(1).norm(dim=1)
    assert notes == pytest.approx(ratio.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "name"), [(SmoothGrad, "smoothgrad"), (SmoothGradSquared, "smoothgrad_sq"), (VarGrad, "vargrad")]
)
def test_captum_agrees_with_the_same_noise(monkeypatch, kind, name):
    """Captum draws the noise of all copies of an image from torch's global generator, which is replaced by ours."""
    batch = residual_batch()
    samples = 5
    noise = torch.stack([batch.noise(draw) for draw in range(samples)], 1).flatten(0, 1)
    monkeypatch.setattr(torch, "normal", lambda mean, std: noise * std)
    tunnel = NoiseTunnel(Saliency(batch.model.network))
    expected = tunnel.attribute(
        batch.images, nt_type=name, nt_samples=samples, stdevs=0.2, target=batch.targets, abs=False
    )
    actual = kind(samples=samples, sigma=0.2, relative=False)(batch).values
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


@pytest.mark.parametrize(("base", "rule"), [(None, "gradient"), (Guided(), "guided")], ids=["gradient", "guided"])
def test_one_copy_without_noise_is_the_base_to_the_bit(base, rule):
    batch = residual_batch()
    explanation = SmoothGrad(samples=1, sigma=0, base=base)(batch)
    assert torch.equal(explanation.values, rectified(batch, rule))
    assert explanation.notes == {"passes": [1, 1, 1]}
    assert float(VarGrad(samples=4, sigma=0, base=base)(batch).values.abs().max()) == 0


def test_a_linear_model_has_its_gradient_and_no_variance():
    batch = residual_batch(in_float64(toys.Linear()))
    assert torch.equal(SmoothGrad()(batch).values, gradients(batch).images)
    assert float(VarGrad()(batch).values.abs().max()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vargrad_is_squares_less_the_square(dtype):
    model = toys.Residual()
    model.network.to(dtype)
    batch = Batch(model, list("abc"), images().to(dtype), [0, 1, 2])
    mean, squares, variance = (kind()(batch).values for kind in FAMILY)
    assert float((squares - mean.square() - variance).abs().max() / squares.max()) <= 1e-6
    assert float(variance.min()) >= 0
    assert float(squares.min()) >= 0


def test_the_family_shares_its_noisy_gradients(passed):
    batch = residual_batch()
    counts = passed(batch)
    for kind in FAMILY:
        kind(samples=7)(batch)
    assert counts["backward"] == 7
    SmoothGrad(samples=7, sigma=0.2)(batch)
    assert counts["backward"] == 14


def test_with_a_tolerance_the_family_stops_at_the_same_copies_and_shares_them(passed):
    batch = residual_batch()
    counts = passed(batch)
    notes, *others = [kind(tolerance=0.12, max_samples=120)(batch).notes for kind in FAMILY]
    assert others == [notes, notes]
    assert len(set(notes["passes"])) > 1
    assert notes["stopped_by"] == ["tolerance"] * 3
    assert max(notes["relative_error"]) <= 0.12
    # A pass takes up to 3 copies of one sample.
    assert sum(notes["passes"]) / 3 <= counts["backward"] < sum(notes["passes"])


def test_pairs_agree_with_a_plain_loop_over_opposite_noise():
    batch = residual_batch()
    flat = batch.images.flatten(1)
    scale = 0.15 * (flat.max(1).values - flat.min(1).values)[:, None, None, None]
    positive, negative = (plain_loop(batch, 3, sign * scale) for sign in (1, -1))
    mean, squared = (kind(samples=6, antithetic=True)(batch) for kind in (SmoothGrad, SmoothGradSquared))
    maps = torch.cat([positive, negative])
    pairs = (positive + negative) / 2
    torch.testing.assert_close(mean.values, maps.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(squared.values, maps.square().mean(0), rtol=1e-9, atol=1e-12)
    error = (pairs.std(0) / 3**0.5).flatten(1).norm(dim=1) / maps.mean(0).flatten(1).norm(dim=1)
    assert mean.notes["relative_error"] == pytest.approx(error.tolist(), rel=1e-9)
    assert mean.notes["passes"] == [6, 6, 6]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (VarGrad, {"antithetic": True, "samples": 10}, "leave antithetic out for vargrad"),
        (SmoothGrad, {"antithetic": True}, "samples must be even, not 25"),
        (SmoothGrad, {"antithetic": True, "tolerance": 0.1, "max_samples": 99}, "max_samples must be even, not 99"),
        (SmoothGrad, {"tolerance": 0.1, "samples": 50}, "samples has no effect with a tolerance"),
        (SmoothGrad, {"max_samples": 50}, "max_samples has no effect without a tolerance"),
        (SmoothGrad, {"tolerance": -1}, "tolerance"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(kind, settings, message):
    with pytest.raises(HeatproofError, match=message):
        kind(**settings)


def test_a_tolerance_survives_changes_and_copies():
    explainer = SmoothGrad(tolerance=0.1, antithetic=True)
    variants = [explainer, explainer.with_(antithetic=False), explainer.with_(tolerance=0.2)]
    assert explainer.with_(sigma=0.2).params.tolerance == 0.1
    assert pickle.loads(pickle.dumps(explainer)).identity == explainer.identity
    assert explainer.passes == (1000, 1000)
    assert len({variant.shares for variant in variants}) == 3


def test_costs_are_counted_per_copy_and_shared_by_equal_noise():
    assert SmoothGrad().passes == VarGrad().passes == (25, 25)
    assert SmoothGrad(samples=4, base=Drawn()).passes == (8, 8)
    assert len({kind(samples=50).shares for kind in FAMILY}) == 1
    others = [SmoothGrad(), SmoothGrad(sigma=0.2), SmoothGrad(relative=False), SmoothGrad(base=Guided())]
    assert len({explainer.shares for explainer in others}) == 4


def test_traits_and_layers_are_those_of_the_base():
    assert SmoothGrad().traits == {"seeded", "signed", "differentiable"}
    assert VarGrad().traits == {"seeded", "differentiable"}
    assert SmoothGrad(base=Drawn()).traits == {"seeded"}
    assert SmoothGrad(base=FirstLayer()).layers(toys.Residual()) == ("stem",)
    assert SmoothGrad(base=FirstLayer()).verdict(toys.Linear()).level == "undefined"


def test_a_seeded_base_draws_other_noise_than_the_copies():
    """Otherwise the noise of the image and the base's own noise would be the same draw."""
    batch = residual_batch(in_float64(toys.Linear()))
    noise = SmoothGrad(samples=1, base=Drawn())(batch).values / gradients(batch).images
    weighted = gradients(batch).images != 0
    assert not torch.allclose(noise[weighted], batch.noise(0)[weighted])


def test_a_volume_is_refused_where_the_base_takes_images_only():
    model = toys.Residual(dimensions=3)
    batch = Batch(model, ["a"], images(1, 3).float(), [0])
    with pytest.raises(HeatproofError, match="explains 2-D images; these have 3"):
        SmoothGrad(samples=2, base=Flat())(batch)


def test_a_constant_image_has_no_range_hence_no_noise():
    batch = residual_batch().at(torch.full_like(images(), 0.5))
    assert torch.equal(SmoothGrad(samples=3)(batch).values, gradients(batch).images)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"sigma": -0.1}, {"sigma": float("nan")}, {"base": 3}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(HeatproofError, match=next(iter(settings))):
        SmoothGrad(**settings)
