"""Classifiers of a library: classes, heads, seeds, options and preparation, on a library of one small network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms

from heatproof.errors import HeatproofError, ModelError
from heatproof.records import Sample
from heatproof.testing import conforms
from heatproof_classifiers.classifier import Classifier
from heatproof_classifiers.record import Record, unique


class Small(Classifier):
    """A library with one network; the weights ``pretrained`` are all 0.5."""

    library = "torch"
    known: tuple[str, ...] = ("cat", "dog", "hen")

    def record(self) -> Record:
        size = self.params.size or 16
        mean = list(self.params.mean or (0.5, 0.4, 0.3))
        steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(mean, [0.2])]
        return Record(self.known, transforms.Compose(steps))

    def random_network(self, outputs: int) -> nn.Module:
        first = nn.Conv2d(3, 4, 3, **self.params.options)
        return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))

    def library_network(self, weights: str, outputs: int) -> tuple[nn.Module, bool]:
        network = self.random_network(outputs)
        nn.init.constant_(network[0].weight, 0.5)
        return network, outputs == len(self.known)


class Unknown(Small):
    """A library that names no classes."""

    known = ()


def small(**params: Any) -> Small:
    return Small(name="small", **params)


def state(model: Small) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


@conforms(small(classes=("ill", "well")))
def test_conformance(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("params", "classes", "head", "outputs"),
    [
        ({}, ("cat", "dog", "hen"), "softmax", 3),
        ({"classes": ["ill", "well"]}, ("ill", "well"), "softmax", 2),
        ({"classes": ["drusen", "oedema"], "head": "sigmoid"}, ("drusen", "oedema"), "sigmoid", 2),
        ({"classes": ["well", "ill"], "head": "binary"}, ("well", "ill"), "sigmoid", 1),
    ],
    ids=str,
)
def test_outputs_are_the_classes(params: dict[str, Any], classes: tuple[str, ...], head: str, outputs: int) -> None:
    model = small(**params)
    logits = model.forward(torch.zeros(1, 3, 16, 16))["logits"]
    assert (model.classes, model.head, logits.shape) == (classes, head, (1, outputs))
    assert model.scores(logits).shape == (1, len(classes))


def test_weights_are_random_by_the_seed_and_a_notice_says_so() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = small(seed=3)
    first = state(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.notices() == [
        "small: all weights are random (seed 3); to explain a trained network, set weights to the path of a checkpoint."
    ]
    again = state(small(seed=3))
    other = state(small(seed=4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_weights_of_the_library_with_other_classes_have_a_random_head_and_a_notice_says_so() -> None:
    model = small(weights="pretrained", classes=["ill", "well"])
    assert bool((model.network[0].weight == 0.5).all())
    assert [notice.partition(";")[0] for notice in model.notices()] == [
        "small: the weights of its 2 outputs are random (seed 0)"
    ]


def test_weights_of_the_library_with_its_classes_are_whole() -> None:
    model = small(weights="pretrained")
    assert model.network[4].out_features == 3
    assert model.notices() == []
    assert small(weights="IMAGENET1K_V1").params.weights == "IMAGENET1K_V1"


def test_a_checkpoint_is_found_beside_the_config_and_counts_by_content(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {f"model.{name}": value for name, value in state(small(seed=9)).items()}}, tmp_path / "a.pt"
    )
    model = Small.create({"name": "small", "weights": "a.pt"}, {"base": tmp_path}, "any/small")
    assert torch.equal(model.network[0].weight, small(seed=9).network[0].weight)
    assert "the entry 'state_dict' and the prefix 'model.' of names" in model.notices()[0]
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    again = Small.create({"name": "small", "weights": "b.pt"}, {"base": tmp_path}, "any/small")
    assert model.identity == again.identity != small(seed=9).identity


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"classes": ["ill", "ill"]}, r"classes: names 'ill' twice \(seen: .*\); give each output a name of its own"),
        ({"classes": []}, "classes"),
        ({"classes": ["ill"]}, "small has one class, 'ill'; name two, with the head binary if it has a single output"),
        ({"head": "binary"}, "small has 3 classes; with the head binary two share the output: name both"),
        ({"options": {"num_classes": 3}}, "options cannot hold 'num_classes'; set classes and weights of the model"),
        ({"mean": [0.5, 0.5]}, "small takes 3 channels, but mean or std has 2 values; set both"),
        ({"size": 0}, "size"),
        ({"std": [0.0]}, "std"),
        ({"fit": "pad"}, "fit"),
        ({"wieghts": "a.pt"}, "wieghts"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatproofError, match=message):
        small(**params)


def test_a_name_is_needed() -> None:
    with pytest.raises(HeatproofError, match="name"):
        Small()


def test_classes_are_needed_where_the_library_names_none() -> None:
    with pytest.raises(ModelError, match="torch names no classes of small; set classes to the names of its outputs"):
        Unknown(name="small")
    assert Unknown(name="small", classes=("ill", "well")).classes == ("ill", "well")


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "library", "torchvison")
    with pytest.raises(ModelError, match=r"^torchvison is not installed; install it with `pip install torchvison`\.$"):
        small()


def test_options_are_the_arguments_of_the_library() -> None:
    assert small(options={"stride": 2}).network[0].stride == (2, 2)
    with pytest.raises(ModelError, match=r"torch cannot build small with options {'strde': 2} \(.*strde"):
        small(options={"strde": 2}).build()


def test_the_transform_prepares_images_with_the_networks_channels() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (1, 20, 30), dtype=np.uint8)
    image = small(size=8).prepare(Sample("a", grey)).image
    assert image.shape == (3, 8, 8)
    np.testing.assert_allclose(image[0] * 0.2 + 0.5, image[2] * 0.2 + 0.3, atol=1e-6)


def test_equal_names_of_a_library_get_their_index() -> None:
    assert unique(["crane", "hen", "crane"]) == ("crane (0)", "hen", "crane (2)")
