"""Relevance of channels: it sums to the score, planted evidence ranks first, and cases are those that drive it."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_inspection.relevance import RelevantChannels, relevance
from heatproof_inspectors.memory import InMemory

COUNT = 20


def subject(weights: torch.Tensor | None = None) -> InMemory:
    """A network of ReLUs without biases; ``weights`` (class, channel) are those of its last layer."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2, bias=False),
    )  # fmt: skip
    if weights is not None:
        with torch.no_grad():
            network[6].weight.copy_(weights)
    draws = np.random.default_rng(1).normal(size=(COUNT, 2, 6, 5)).astype(np.float32)
    samples = [Sample(f"s{row}", image, label=row % 2) for row, image in enumerate(draws)]
    return InMemory(Model.of(network, ["a", "b"]), samples, ["a", "b"])


@pytest.mark.parametrize("layer", ["0", "2"])
@pytest.mark.parametrize("target", [0, 1])
def test_relevance_sums_to_the_score_without_biases(layer, target) -> None:
    tested = subject()
    values, scores = relevance(tested, layer, np.arange(COUNT), target)
    images = torch.from_numpy(np.stack([sample.image for sample in tested.samples]))
    with torch.no_grad():
        expected = tested.model.network(images)[:, target].numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(values.sum(axis=1), expected, atol=1e-5)


def test_relevance_before_pooling_is_weight_times_mean_activation() -> None:
    weights = torch.tensor([[2.0, 0, -1, 0], [0, 3, 0, 0.5]])
    tested = subject(weights)
    for target in range(2):
        values, _ = relevance(tested, "2", np.arange(COUNT), target)
        np.testing.assert_allclose(values, tested.features("2") * weights[target].numpy(), atol=1e-5)


def test_planted_evidence_ranks_first_and_others_have_none() -> None:
    tested = subject(torch.tensor([[0.0, 0, 5, 0], [0, 0, 0, -1]]))
    result = RelevantChannels(layer="2").inspect(tested)
    first, *others = [row for row in result.tables["channels"] if row["class"] == "a"]
    assert (first["channel"], first["positive_share"]) == (2, 1.0)
    assert all(row["relevance"] == 0 for row in others)
    assert "For a, channel 2 of layer 2 carries 100.0% of the evidence and 1 of 4 channels half" in result.sentences[0]
    assert result.sentences[1] == "No channel of layer 2 carries evidence for b on average."
    assert {row["class"] for row in result.tables["drivers"]} == {"a"}


def test_drivers_are_the_cases_with_the_largest_relevance() -> None:
    tested = subject(torch.tensor([[0.0, 0, 5, 0], [0, 0, 0, -1]]))
    drivers = RelevantChannels(layer="2", target="a", top=1, cases=3).inspect(tested).tables["drivers"]
    order = sorted(range(COUNT), key=lambda row: -tested.features("2")[row, 2])
    assert [row["id"] for row in drivers] == [f"s{row}" for row in order[:3]]
    assert [row["rank"] for row in drivers] == [1, 2, 3]


def test_a_sample_is_said() -> None:
    result = RelevantChannels(layer="2", limit=7).inspect(subject())
    assert result.sentences[0] == "A sample of 7 of 20 cases, drawn by the seed 0."


def test_unknown_layers_and_classes_are_refused() -> None:
    with pytest.raises(ModelError, match="has no layer 'absent'"):
        RelevantChannels(layer="absent").layers(subject().model)
    with pytest.raises(ModelError, match="has no class 'c'"):
        RelevantChannels(target="c").inspect(subject())
