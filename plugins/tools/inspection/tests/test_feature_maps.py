"""Feature maps: planted dead units are listed, a network without one claims nothing, shares against plain counts."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_inspection.feature_maps import FeatureMaps
from heatproof_inspectors.memory import InMemory

COUNT = 20


def subject(biases: list[float], padding: int = 1, fill: float = 0.0) -> InMemory:
    """A network with a ReLU behind four channels; a very negative bias makes a channel dead."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=padding), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        network[0].weight.fill_(1 / 9)
        network[0].bias.copy_(torch.tensor(biases))
    draws = np.random.default_rng(1).normal(size=(COUNT, 1, 3, 3)).astype(np.float32) + fill
    samples = [Sample(f"s{row}", image) for row, image in enumerate(draws)]
    return InMemory(Model.of(network, ["a", "b"]), samples, ["a", "b"])


def test_planted_dead_channels_are_listed() -> None:
    result = FeatureMaps().inspect(subject([1.0, -50.0, 0.5, -60.0], fill=1.0))
    assert result.sentences[0] == "2 of 4 channels of layer 0 are zero in all 20 cases: 1, 3."
    assert [row["dead"] for row in result.tables["maps"]] == [False, True, False, True]
    assert [row["zero_share"] for row in result.tables["maps"]] == [0, 1, 0, 1]
    assert "50.0% of all maps" in result.sentences[1]


def test_a_network_without_a_dead_channel_claims_none() -> None:
    result = FeatureMaps().inspect(subject([1.0, 2.0, 0.5, 3.0], fill=1.0))
    assert result.sentences[0] == "No channel of layer 0 is zero in all 20 cases."
    assert not any(row["dead"] for row in result.tables["maps"])


def test_a_channel_that_is_alive_in_a_single_case_is_not_dead() -> None:
    alive = subject([-3.0, 0.0, 0.0, 0.0])
    alive.samples[17].image[:] = 30
    rows = FeatureMaps(case=17).inspect(alive).tables["maps"]
    assert rows[0]["zero_share"] == pytest.approx(1 - 1 / COUNT)
    assert not rows[0]["dead"]


def test_shares_and_values_against_plain_counts() -> None:
    tested = subject([-0.3, 0.0, -0.6, 0.2])
    images = torch.from_numpy(np.stack([sample.image for sample in tested.samples]))
    with torch.no_grad():
        maps = tested.model.network[:2](images).numpy()
    rows = FeatureMaps(case="s7").inspect(tested).tables["maps"]
    for channel, row in enumerate(rows):
        zeros = [all(value == 0 for value in maps[case, channel].ravel()) for case in range(COUNT)]
        assert row["zero_share"] == pytest.approx(sum(zeros) / COUNT)
        assert row["largest"] == pytest.approx(maps[:, channel].max(), rel=1e-5)
        assert row["case_mean"] == pytest.approx(maps[7, channel].mean(), abs=1e-5)


def test_maps_of_a_single_value_are_said() -> None:
    result = FeatureMaps().inspect(subject([1.0, 2.0, 0.5, 3.0], padding=0))
    assert result.sentences[-1] == "A map of this layer is a single value."


def test_unknown_cases_and_layers_are_refused() -> None:
    tested = subject([1.0, 2.0, 0.5, 3.0])
    with pytest.raises(DataError, match="there is no case 20; give an index below 20"):
        FeatureMaps(case=20).inspect(tested)
    with pytest.raises(DataError, match="there is no case 's99' among the 20"):
        FeatureMaps(case="s99").inspect(tested)
    with pytest.raises(ModelError, match="has no layer 'absent'"):
        FeatureMaps(layer="absent").layers(tested.model)


def test_maps_that_are_not_finite_are_refused() -> None:
    tested = subject([1.0, 2.0, 0.5, 3.0])
    tested.samples[3].image[:] = np.nan
    with pytest.raises(DataError, match="the maps of layer '0' are not finite"):
        FeatureMaps().inspect(tested)
