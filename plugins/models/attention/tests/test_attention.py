"""The explainer of attention: its contract with models, by hand and on small networks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.testing import conforms, toys
from heatproof_attention.attention import Attention
from heatproof_attention.vgg import AttentionVgg


class Attending(toys.Toy):
    """A toy with two maps of attention on a grid of 8 × 8 cells."""

    outputs = ("logits", "attention")
    attention_names = ("early", "late")
    capabilities = frozenset({"gradients", "layers", "attention"})

    def build(self) -> nn.Module:
        return toys.drawn(_Attending(), self.params.seed)


class _Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.scores = nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.features(images).relu()
        scores = self.scores(features)
        weights = scores.flatten(2).softmax(2).reshape(scores.shape)
        sums = [(features * weights[:, [index]]).sum((2, 3)) for index in range(2)]
        return {"attention": weights, "logits": self.head(torch.cat(sums, 1))}


class Returning(nn.Module):
    """Returns maps whatever the image."""

    def __init__(self, maps: Tensor):
        super().__init__()
        self.maps = nn.Parameter(maps)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": images.mean((2, 3)), "attention": self.maps.expand(len(images), *self.maps.shape)}


class Named(Model):
    """A model with given maps and names."""

    classes = ("a", "b", "c")
    outputs: tuple[str, ...] = ("logits", "attention")
    capabilities = frozenset({"attention"})
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.25, 0.25], [0.25, 0.25]]])

    def build(self) -> nn.Module:
        return Returning(self.maps)


def named(**attributes: Any) -> Model:
    return type("Named", (Named,), attributes)()


def explained(model: Model, **settings: Any) -> Any:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return Attention(**settings)(Batch(model, ["a", "b"], images, [0, 1]))


@conforms(Attention(map="early"), model=Attending())
def test_conformance(check):
    check()


def test_the_map_is_the_output_of_the_pass_of_the_logits_upsampled(passed):
    model = Attending()
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(3)])
    batch = Batch(model, list("abc"), images, [0, 1, 0], rows=2)
    counts = passed(batch)
    logits(batch)
    explanation = Attention(map=0)(batch)
    assert counts == {"forward": 2}
    with torch.no_grad():
        maps = model.network(images)["attention"]
    torch.testing.assert_close(explanation.kept["attention"], maps)
    torch.testing.assert_close(explanation.values, functional.interpolate(maps[:, [0]], (16, 16), mode="bilinear"))


def test_maps_have_indices_names_and_a_last_one():
    """By hand: a map of one cell becomes the products of linear weights 1, 0.75, 0.25, 0; a uniform one is noted."""
    weights = torch.tensor([1.0, 0.75, 0.25, 0.0])
    first = explained(named(attention_names=("spot", "all")), map="spot")
    torch.testing.assert_close(first.values[1, 0], weights[:, None] * weights)
    assert first.notes == {"degenerate": [0.0, 0.0]}
    for settings in ({}, {"map": 1}, {"map": "last"}):
        last = explained(named(), **settings)
        assert last.values.flatten().tolist() == [0.25] * 32
        assert last.notes == {"degenerate": [1.0, 1.0]}


def test_a_map_that_the_model_does_not_have_is_refused():
    names = ("spot", "all")
    for setting, attributes, reason in (
        ("al", {"attention_names": names}, "Named has no map of attention 'al'; did you mean 'all'"),
        (2, {"attention_names": names}, "Named has no map of attention 2"),
        ("spot", {}, "Named has no map of attention 'spot'; give an index below 1, or last"),
    ):
        verdict = Attention(map=setting).verdict(named(**attributes))
        assert verdict.level == "undefined"
        assert reason in verdict.reason
    with pytest.raises(ModelError, match="Named has no map of attention 2; give an index below 2, or last"):
        explained(named(), map=2)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"maps": torch.full((2, 2, 2), -0.1)}, "is negative somewhere"),
        ({"maps": torch.ones(2, 2)}, r"has shape \(2, 2, 2\); allowed: \(images, maps, \*grid\)"),
        ({"attention_names": ("a", "b", "c")}, r"has shape \(2, 2, 2, 2\); allowed: \(images, 3, \*grid\)"),
        ({"outputs": ("logits",)}, "gives no output 'attention' with a row per image"),
    ],
)
def test_an_output_that_is_no_map_is_refused(attributes, message):
    with pytest.raises(ModelError, match=message):
        explained(named(**attributes))


def test_the_maps_of_a_network_of_the_papers():
    model = AttentionVgg(classes=("a", "b"), widths=(2, 2, 2, 3, 3, 3))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network = model.network
        third = network.block3(network.block2(network.block1(images)))
        fourth = network.block4(network.pool3(third))
        fifth = network.block5(network.pool4(fourth))
        weights, _ = network.attention4(fourth, network.dense(network.block6(network.pool5(fifth))))
    assert weights.shape == (2, 1, 16, 16)
    values = Attention(map="block4")(Batch(model, ["a", "b"], images, [0, 1])).values
    expected = functional.interpolate(weights, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-7)
