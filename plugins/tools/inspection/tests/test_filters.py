"""Filters: their energy against plain loops; smooth ones differ from random orders, random ones do not."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_inspection.filters import Filters, roughness, shuffled, weights_of
from heatproof_inspectors.memory import InMemory


def subject(first: nn.Module, channels: int = 3) -> InMemory:
    network = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    image = np.random.default_rng(0).random((channels, 12, 12)).astype(np.float32)
    network(torch.from_numpy(image)[None])
    return InMemory(Model.of(network, ["a", "b"]), [Sample("s0", image)], ["a", "b"])


def convolution() -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(3, 8, 5)


def test_energy_against_plain_loops() -> None:
    weights = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    for values, energy in zip(weights, roughness(weights)):
        differences = []
        for channel in values:
            for row, column in np.ndindex(4, 5):
                window = channel[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
                differences.append(abs(channel[row, column] - window.mean()))
        assert energy == pytest.approx(np.mean(differences))


def test_the_sentence_has_the_numbers_of_the_tables() -> None:
    result = Filters(draws=40).inspect(subject(convolution()))
    energies = [row["energy"] for row in result.tables["orders"]]
    ratio = energies[0] / np.mean(energies[1:])
    assert f"{ratio:.3g} times" in result.sentences[1]
    assert np.mean([row["energy"] for row in result.tables["filters"]]) == pytest.approx(energies[0])


@pytest.mark.parametrize("draw", [nn.init.kaiming_normal_, nn.init.xavier_uniform_], ids=["normal", "uniform"])
def test_random_filters_are_outside_as_often_as_the_interval_says(draw) -> None:
    """Of 60 random layers, 3 are expected outside a 95 % interval, and more than 8 once in 250 times."""
    outside = 0
    for seed in range(60):
        torch.manual_seed(seed)
        layer = nn.Conv2d(3, 8, 5)
        draw(layer.weight)
        weights = weights_of(layer)
        orders = [roughness(shuffled(weights, np.random.default_rng([seed, order]))).mean() for order in range(100)]
        low, high = np.quantile(orders, [0.025, 0.975])
        outside += not low <= roughness(weights).mean() <= high
    assert outside <= 8


def test_smooth_filters_are_not() -> None:
    layer = convolution()
    axis = torch.linspace(-1, 1, 5)
    with torch.no_grad():
        layer.weight.copy_(0.1 * (axis[:, None] + axis).expand(8, 3, 5, 5))
    result = Filters(draws=40).inspect(subject(layer))
    assert "outside the interval" in result.sentences[1]
    first, *others = [row["energy"] for row in result.tables["orders"]]
    assert first < min(others)


def test_a_random_order_has_the_same_weights_and_leaves_the_network_as_it_was() -> None:
    layer = convolution()
    before = weights_of(layer).copy()
    mixed = shuffled(weights_of(layer), np.random.default_rng(3))
    np.testing.assert_array_equal(np.sort(mixed, axis=None), np.sort(before, axis=None))
    assert (mixed != before).mean() > 0.9
    np.testing.assert_array_equal(weights_of(layer), before)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (nn.Conv2d(3, 4, 1), r"has filters of 1 × 1"),
        (nn.Sequential(nn.Flatten(), nn.Linear(432, 16), nn.Unflatten(1, (1, 4, 4))), "has no 2-D convolution"),
    ],
)
def test_networks_without_filters_are_refused(first, message) -> None:
    with pytest.raises(ModelError, match=message):
        Filters().inspect(subject(first))


def test_filters_of_zeros_are_refused() -> None:
    layer = convolution()
    nn.init.zeros_(layer.weight)
    with pytest.raises(ModelError, match="are all zero or not finite"):
        Filters().inspect(subject(layer))
