"""Dissection: the published example, exact thresholds, planted concept units, and what cannot be dissected."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof.records import Annotation, Sample
from heatproof_inspection import dissection
from heatproof_inspection.dissection import Dissection
from heatproof_inspection.units import overlaps, thresholds, upsampled
from heatproof_inspectors.memory import InMemory

COUNT = 20
SIZE = 16


def network(stride: int = 1) -> nn.Module:
    """Unit 0 answers to the second channel of the image, unit 1 to noise in the third, unit 2 is dead."""
    module = nn.Sequential(
        nn.Conv2d(3, 3, stride, stride, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    weights = torch.zeros(3, 3, stride, stride)
    weights[0, 1] = 1 / stride**2
    weights[1, 2] = 1 / stride**2
    with torch.no_grad():
        module[0].weight.copy_(weights)
    return module


def samples(examined: int = COUNT, visible: bool = True) -> list[Sample]:
    generator = np.random.default_rng(0)
    results = []
    for row in range(COUNT):
        image = generator.random((3, SIZE, SIZE)).astype(np.float32)
        mask = np.zeros((SIZE, SIZE), np.float32)
        top, left = generator.integers(0, SIZE - 2, 2)
        mask[top : top + 2, left : left + 2] = 1
        if visible:
            image[1] = 0.01 * image[1] + mask
        annotations = (Annotation("cyst", mask), Annotation("scar", np.zeros_like(mask)))
        results.append(Sample(f"s{row}", image, annotations if row < examined else ()))
    return results


def subject(stride: int = 1, **settings) -> InMemory:
    return InMemory(Model.of(network(stride), ["a", "b"]), samples(**settings), ["a", "b"])


def test_published_example_of_overlap() -> None:
    """Over both images 3/5; the mean of the two images would be 2/3."""
    maps = np.array([[[[1.0, 1], [0, 0]]], [[[0, 1], [0, 1]]]])
    labels = np.array([[[1.0, 0], [1, 0]], [[0, 1], [0, 1]]])
    result = overlaps([(slice(0, 2), maps)], np.array([0.5]), lambda row: labels[row][None], 1, (2, 2))
    assert result.tolist() == [[pytest.approx(0.6)]]


def test_published_example_of_thresholds() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, 1001)).reshape(10, 1, 100)
    limit = thresholds(values, 1000, 0.005)
    assert limit == pytest.approx([995.005])
    assert (values > limit[0]).sum() == 5


@pytest.mark.parametrize("quantile", [0.005, 0.03, 0.5, 0.999])
@pytest.mark.parametrize("count", [7, 200, 1001])
def test_thresholds_are_the_quantiles_of_numpy(quantile, count) -> None:
    values = np.random.default_rng(1).normal(size=(4, count))
    pieces = np.array_split(values, 3, axis=1)
    np.testing.assert_allclose(thresholds(pieces, count, quantile), np.quantile(values, 1 - quantile, axis=1))


def test_upsampling_by_hand() -> None:
    assert upsampled(np.array([[[[0.0, 4.0]]]]), (1, 4)).ravel().tolist() == [0.0, 1.0, 3.0, 4.0]


def test_a_planted_concept_unit_is_a_detector_and_a_random_one_is_not() -> None:
    result = Dissection(quantile=4 / SIZE**2).inspect(subject())
    units = {row["channel"]: row for row in result.tables["units"]}
    assert (units[0]["finding"], units[0]["detector"]) == ("cyst", True)
    assert units[0]["overlap"] == pytest.approx(1, abs=0.05)
    assert not units[1]["detector"]
    assert (units[2]["overlap"], units[2]["detector"]) == (0.0, False)
    assert result.tables["units"][0]["channel"] == 0
    assert "1 of 3 units of layer 0 detect a finding" in result.sentences[0]
    assert "(cyst 1, scar 0)" in result.sentences[0]


def test_a_network_that_does_not_see_the_finding_has_no_detector() -> None:
    result = Dissection().inspect(subject(visible=False))
    assert not any(row["detector"] for row in result.tables["units"])
    assert result.sentences[0].startswith("0 of 3 units")


def test_overlaps_against_plain_loops(monkeypatch) -> None:
    """With a coarse layer, cases that nobody examined, and channels in groups of one."""
    monkeypatch.setattr(dissection, "MEMORY", 1)
    tested = subject(stride=4, examined=13)
    rows = Dissection(quantile=0.05, findings=("cyst",)).inspect(tested).tables["overlaps"]
    images = torch.from_numpy(np.stack([sample.image for sample in tested.samples]))
    with torch.no_grad():
        maps = nn.functional.interpolate(tested.model.network[:2](images), size=(SIZE, SIZE), mode="bilinear").numpy()
    for channel in range(2):
        limit = np.quantile(maps[:, channel].astype(np.float64), 0.95)
        pairs = [(maps[row, channel] > limit, tested.samples[row].mask("cyst") > 0.5) for row in range(13)]
        expected = sum((a & b).sum() for a, b in pairs) / sum((a | b).sum() for a, b in pairs)
        assert rows[channel]["overlap"] == pytest.approx(expected, rel=0.02)


def test_what_cannot_be_dissected() -> None:
    with pytest.raises(DataError, match="no case has an annotation of a finding"):
        Dissection().inspect(subject(examined=0))
    with pytest.raises(DataError, match="no case was examined for the finding 'cysts'; did you mean 'cyst'"):
        Dissection(findings=("cysts",)).inspect(subject())
    with pytest.raises(DataError, match=r"the maps of layer '0' have the grid \(1, 1\), which shows no region"):
        Dissection(layer="0").inspect(subject(stride=SIZE))
    with pytest.raises(ModelError, match="has no layer 'absent'"):
        Dissection(layer="absent").layers(subject().model)
