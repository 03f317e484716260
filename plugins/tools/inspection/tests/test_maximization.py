"""Class maximization against closed forms of linear models, and its penalties against plain sums."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_inspection.maximization import ClassMaximization, ClassMaximizationParams, ascended, penalty
from heatproof_inspectors.memory import InMemory

WEIGHTS = np.array([[1.0, -2, 0.5], [0.2, 0.1, -3]])


def subject(network: nn.Module, space: tuple[int, int], precision: str = "float64") -> InMemory:
    image = np.full((1, *space), 0.5, np.float32)
    model = Model.of(network, ["a", "b"]).in_precision(precision)
    return InMemory(model, [Sample("s0", image)], ["a", "b"])


def linear() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(WEIGHTS))
        network[1].bias.copy_(torch.tensor([0.25, 0.0]))
    return network


@pytest.mark.parametrize("target", [0, 1])
def test_the_maximum_of_a_linear_model(target) -> None:
    """x = w / (2 lambda); of the published example (5, -10, 2.5), with the value 13.125 and the bias."""
    tested = subject(linear(), (1, 3))
    batch = tested.batch([0], [target])
    params = ClassMaximizationParams(l2=0.1)
    result = ascended(batch, torch.zeros_like(batch.images), params)
    np.testing.assert_allclose(result.images.ravel(), WEIGHTS[target] / 0.2, atol=1e-4)
    value = float(result.after - penalty(result.images, params))
    assert value == pytest.approx((WEIGHTS[target] ** 2).sum() / 0.4 + (0.25, 0.0)[target], abs=1e-4)
    assert bool(result.converged)


def test_the_sixth_power_has_a_closed_form_too() -> None:
    """One pixel of weight w: w = 2 l2 x + 6 l6 x⁵."""
    tested = subject(linear(), (1, 3))
    batch = tested.batch([0], [0])
    result = ascended(batch, torch.zeros_like(batch.images), ClassMaximizationParams(l2=0.1, l6=0.05, steps=2000))
    for weight, x in zip(WEIGHTS[0], result.images.ravel().tolist()):
        assert 0.2 * x + 0.3 * x**5 == pytest.approx(weight, abs=1e-4)


def test_penalties_against_plain_sums() -> None:
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 4, 5)))
    params = ClassMaximizationParams(l2=0.3, total_variation=0.7, l6=0.2)
    for image, value in zip(images.numpy(), penalty(images, params).tolist()):
        variation = np.abs(np.diff(image, axis=1)).sum() + np.abs(np.diff(image, axis=2)).sum()
        expected = 0.3 * (image**2).sum() + 0.7 * variation + 0.2 * (image**6).sum()
        assert value == pytest.approx(expected, abs=0.02)


def test_total_variation_makes_images_smoother() -> None:
    tested = subject(linear(), (1, 3))
    batch = tested.batch([0], [0])
    start = torch.zeros_like(batch.images)
    rough = ascended(batch, start, ClassMaximizationParams(l2=0.1)).images.diff(dim=-1).abs().sum()
    smooth = ascended(batch, start, ClassMaximizationParams(l2=0.1, total_variation=0.5)).images.diff(dim=-1)
    assert smooth.abs().sum() < 0.8 * rough


def test_every_class_has_an_image_and_a_row() -> None:
    result = ClassMaximization(l2=0.1).inspect(subject(linear(), (1, 3)))
    rows = result.tables["maximization"]
    assert [row["class"] for row in rows] == ["a", "b"]
    assert rows[0]["before"] == pytest.approx(0.25)
    assert rows[0]["after"] == pytest.approx(0.25 + (WEIGHTS[0] ** 2).sum() / 0.2, abs=1e-3)
    assert rows[0]["norm"] == pytest.approx(np.linalg.norm(WEIGHTS[0]) / 0.2, abs=1e-3)
    assert [
        row["class"] for row in ClassMaximization(target="b").inspect(subject(linear(), (1, 3))).tables["maximization"]
    ] == ["b"]


def test_a_network_that_ignores_its_image_stays_at_zero_and_says_so() -> None:
    network = linear()
    nn.init.zeros_(network[1].weight)
    result = ClassMaximization().inspect(subject(network, (1, 3)))
    assert all("stays zero" in sentence for sentence in result.sentences)


def test_too_few_steps_are_said_and_parameters_get_no_gradients() -> None:
    tested = subject(linear(), (1, 3), "float32")
    result = ClassMaximization(steps=1, l2=0.001).inspect(tested)
    assert all("has not converged" in sentence for sentence in result.sentences)
    assert all(parameter.grad is None for parameter in tested.model.network.parameters())


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ModelError, match="has no class 'c'"):
        ClassMaximization(target="c").inspect(subject(linear(), (1, 3)))


def test_an_ordinal_head_has_one_score_for_all_grades() -> None:
    model = Model.of(nn.Sequential(nn.Flatten(), nn.Linear(3, 1)), ["none", "mild", "severe"], head="ordinal")
    graded = InMemory(model, [Sample("s0", np.full((1, 1, 3), 0.5, np.float32))], ["none", "mild", "severe"])
    inspection = ClassMaximization(l2=0.5, steps=5).inspect(graded)
    assert [row["class"] for row in inspection.tables["maximization"]] == ["logit"]
