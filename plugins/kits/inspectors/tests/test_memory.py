"""A subject in memory: its features, maps and cases against the network called by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.memory import InMemory

COUNT = 19
"""More than one piece."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )


@pytest.fixture(scope="module")
def subject() -> InMemory:
    draws = np.random.default_rng(1).normal(size=(COUNT, 1, 6, 8)).astype(np.float32)
    samples = [Sample(f"s{index}", image, label=index % 2) for index, image in enumerate(draws)]
    return InMemory(Model.of(network(), ["a", "b"]), samples, ["a", "b"])


def test_features_are_the_means_of_the_maps(subject: InMemory) -> None:
    images = torch.from_numpy(np.stack([sample.image for sample in subject.samples])).double()
    with torch.no_grad():
        expected = network().double()[:2](images)
    np.testing.assert_allclose(subject.features("0"), expected.mean((2, 3)), atol=1e-6)
    pieces = list(subject.maps("last"))
    assert [piece.stop - piece.start for piece, _ in pieces] == [16, 3]
    np.testing.assert_allclose(np.concatenate([maps for _, maps in pieces]), expected, atol=1e-5)


def test_cases_say_what_the_model_says(subject: InMemory) -> None:
    images = torch.from_numpy(np.stack([sample.image for sample in subject.samples]))
    with torch.no_grad():
        expected = network()(images).softmax(1).numpy()
    for row, case in enumerate(subject.cases):
        np.testing.assert_allclose(case.probabilities, expected[row], atol=1e-6)
        assert case.decision == "ab"[expected[row].argmax()]
        assert case.labels == ("ab"[row % 2],)
        assert case.wrong == (case.decision != case.labels[0])


def test_a_batch_has_the_cases_that_are_asked_for(subject: InMemory) -> None:
    batch = subject.batch([4, 2], [1, 0])
    assert batch.ids == ("s4", "s2")
    assert batch.targets.tolist() == [1, 0]


def test_random_numbers_depend_on_seed_and_purpose(subject: InMemory) -> None:
    assert subject.generator("x").random() == subject.generator("x").random()
    assert subject.generator("x").random() != subject.generator("y").random()


def test_an_unknown_layer_and_unequal_images_are_refused(subject: InMemory) -> None:
    with pytest.raises(ModelError, match="has no layer 'absent'"):
        subject.features("absent")
    small = Sample("small", np.zeros((1, 4, 4), np.float32))
    with pytest.raises(DataError, match="images of one shape"):
        InMemory(subject.model, [*subject.samples, small], ["a", "b"])
    with pytest.raises(DataError, match="seen: none"):
        InMemory(subject.model, [])


def test_an_inspector_needs_no_more_than_inspect(subject: InMemory) -> None:
    class Counting(Inspector):
        """Counts cases."""

        def inspect(self, subject):
            return Inspection((f"{len(subject.cases)} cases.",))

    assert Counting().layers(subject.model) == ()
    assert Counting().inspect(subject).sentences == ("19 cases.",)
