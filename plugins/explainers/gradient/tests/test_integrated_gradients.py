"""Checks integrated gradients against closed forms, captum and completeness."""

import pickle

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from torch import Tensor, nn
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.model import Model
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_gradient.integrated_gradients import IntegratedGradients

COARSE = "a few steps are exact only on a path from zero without its first point, where no ReLU is active"


class Product(nn.Module):
    """x1 x2 + x1²: at (2, 3) its integrated gradients from zero are (7, 3)."""

    def forward(self, images: Tensor) -> Tensor:
        values = images.flatten(1)
        return (values[:, 0] * values[:, 1] + values[:, 0] ** 2)[:, None]


class Weighted(nn.Module):
    """A network with a further input per sample."""

    def forward(self, images: Tensor, weight: Tensor) -> Tensor:
        return (images.flatten(1) * weight[:, None]).square().sum(1, keepdim=True)


def random_images(count: int = 3, size: int = 16) -> Tensor:
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    return toys.calibrated(network, random_images(4, size))


def product_batch() -> Batch:
    """The image (2, 3) and the model x1 x2 + x1²."""
    images = torch.tensor([2.0, 3.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    return Batch(Model.of(Product(), "a"), ["a"], images, [0])


@conforms(
    IntegratedGradients(steps=8), IntegratedGradients(steps=5, rule="right"),
    IntegratedGradients(tolerance=0.01, max_steps=4),
)  # fmt: skip
def test_conformance(check):
    check()


@conforms(
    IntegratedGradients(steps=5, rule="left"), IntegratedGradients(steps=5, baseline=-0.3),
    expected={"values sum to the score where complete": COARSE},
)  # fmt: skip
def test_conformance_of_coarse_paths(check):
    check()


@pytest.mark.parametrize(
    ("steps", "rule", "expected", "gap"),
    [
        (4, "left", [5.25, 2.25], -2.5),
        (4, "right", [8.75, 3.75], 2.5),
        (4, "midpoint", [7, 3], 0),
        (64, "left", [6.890625, 2.953125], -0.15625),
        (64, "midpoint", [7, 3], 0),
        (1, "midpoint", [7, 3], 0),
    ],
)
def test_a_product_has_its_closed_form(steps, rule, expected, gap):
    explanation = IntegratedGradients(steps=steps, rule=rule)(product_batch())
    assert explanation.values.flatten().tolist() == pytest.approx(expected, rel=1e-14)
    assert explanation.notes["completeness_gap"] == pytest.approx([gap], abs=1e-13)


@pytest.mark.parametrize("rule", ["left", "right", "midpoint"])
def test_captum_agrees_on_a_residual_network(rule):
    """The number of steps is a power of two, since captum rounds its step sizes to float32."""
    _assert_captum_agrees(in_float64(toys.Residual()).network, random_images(), 16, rule)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_captum_agrees_on_the_three_networks(name):
    _assert_captum_agrees(large(name), random_images(2, 80), 4, "midpoint")


def large(name: str) -> nn.Module:
    """A network of Van Craenendonck et al. 2020 with random weights and few classes."""
    torch.manual_seed(0)
    if name == "inception_v3":
        return calibrated(models.inception_v3(num_classes=3, aux_logits=False, init_weights=False), 80)
    if name == "resnet50":
        return calibrated(models.resnet50(num_classes=3), 80)
    network = models.vgg16(num_classes=3)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Linear(512, 3)
    return network.double().eval()


def _assert_captum_agrees(network: nn.Module, images: Tensor, steps: int, rule: str) -> None:
    targets = torch.arange(len(images)) % 3
    actual = IntegratedGradients(steps=steps, rule=rule, baseline=0.1)(
        Batch(Model.of(network, "abc"), [str(index) for index in range(len(images))], images, targets)
    )
    method = {"left": "riemann_left", "right": "riemann_right", "midpoint": "riemann_middle"}[rule]
    expected, delta = CaptumIntegratedGradients(network).attribute(
        images,
        torch.full_like(images, 0.1),
        target=targets,
        n_steps=steps,
        method=method,
        return_convergence_delta=True,
    )
    assert float((actual.values - expected).abs().max() / expected.abs().max()) <= 1e-8
    assert actual.notes["completeness_gap"] == pytest.approx(delta.tolist(), rel=1e-6, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "tolerance"), [(32, 0.05), (256, 0.01)])
def test_values_sum_to_the_score_on_vgg16(steps, tolerance):
    model = Model.of(large("vgg16"), "abc")
    images = random_images(1, 48) * 2 - 1
    batch = Batch(model, ["a"], images, [0])
    explanation = IntegratedGradients(steps=steps)(batch)
    gain = float(batch.score(images) - batch.score(torch.zeros_like(images)))
    assert float(explanation.values.sum()) == pytest.approx(gain, rel=tolerance)


def test_the_gap_is_the_error_of_the_sum_and_shrinks_with_more_steps():
    batch = Batch(in_float64(toys.Residual()), list("abc"), random_images() * 3, [0, 1, 2])
    gaps = []
    for steps in (1, 9, 81):
        explanation = IntegratedGradients(steps=steps)(batch)
        gain = batch.score(batch.images) - batch.score(torch.zeros_like(batch.images))
        errors = explanation.values.flatten(1).sum(1) - gain
        assert explanation.notes["completeness_gap"] == pytest.approx(errors.tolist(), abs=1e-12)
        gaps.append(float(errors.abs().max()))
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2] > 0


@pytest.mark.parametrize("baseline", [0.0, -0.5])
def test_each_sample_has_its_further_inputs(baseline):
    images = random_images(3, 4)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    explanation = IntegratedGradients(baseline=baseline)(
        Batch(Model.of(Weighted(), "a"), list("abc"), images, [0] * 3, inputs={"weight": weights})
    )
    expected = (images.square() - baseline**2) * weights.square().reshape(-1, 1, 1, 1)
    torch.testing.assert_close(explanation.values, expected, rtol=1e-10, atol=1e-12)
    assert explanation.notes["completeness_gap"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_each_step_costs_one_pass(monkeypatch):
    calls = []
    backward = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: calls.append("backward") or backward(*arguments, **settings),
    )
    IntegratedGradients(steps=9)(product_batch())
    assert len(calls) == 9
    assert IntegratedGradients(steps=9).passes == (11, 9)


def test_each_sample_takes_as_many_steps_as_its_tolerance_needs():
    batch = Batch(
        in_float64(toys.Residual()),
        list("abc"),
        random_images() * torch.tensor([1, 3, 0.2])[:, None, None, None],
        [0, 1, 2],
    )
    actual = IntegratedGradients(tolerance=0.03)(batch)
    assert actual.notes["passes"] == [75, 75, 25]
    assert actual.notes["stopped_by"] == ["tolerance"] * 3
    assert max(actual.notes["relative_error"]) <= 0.03
    for index, single in enumerate(batch.singles()):
        alone = IntegratedGradients(steps=actual.notes["passes"][index])(single)
        torch.testing.assert_close(actual.values[[index]], alone.values, rtol=1e-10, atol=1e-14)
        exact = IntegratedGradients(steps=225)(single).values
        assert float((alone.values - exact).norm() / exact.norm()) <= 1.5 * actual.notes["relative_error"][index]


def test_notes_hold_passes_gap_and_for_midpoints_the_error():
    assert set(IntegratedGradients(steps=4)(product_batch()).notes) == {"completeness_gap", "passes", "relative_error"}
    assert set(IntegratedGradients(steps=4, rule="left")(product_batch()).notes) == {"completeness_gap", "passes"}
    assert IntegratedGradients(tolerance=1e-6, max_steps=30)(product_batch()).notes["stopped_by"] == ["limit"]
    assert IntegratedGradients(tolerance=0.05, max_steps=80).passes == (82, 80)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": 0.1, "rule": "left"}, "rule must be midpoint with a tolerance \\(got left\\)"),
        ({"tolerance": 0.1, "steps": 50}, "steps has no effect with a tolerance"),
        ({"max_steps": 50}, "max_steps has no effect without a tolerance"),
    ],
)
def test_contradicting_settings_are_an_error(settings, message):
    with pytest.raises(HeatproofError, match=message):
        IntegratedGradients(**settings)


def test_a_tolerance_survives_changes_and_copies():
    explainer = IntegratedGradients(tolerance=0.05)
    assert explainer.with_(baseline=0.1).params.tolerance == 0.05
    assert pickle.loads(pickle.dumps(explainer)).identity == explainer.identity
    assert (
        len({explainer.identity, explainer.with_(tolerance=0.1).identity, explainer.with_(max_steps=100).identity}) == 3
    )


@pytest.mark.parametrize("settings", [{"steps": 0}, {"rule": "trapezoid"}, {"baseline": float("inf")}])
def test_invalid_settings_are_an_error(settings):
    with pytest.raises(HeatproofError, match=next(iter(settings))):
        IntegratedGradients(**settings)
