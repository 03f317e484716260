"""Graders: the published head on any backbone, and every way of loading weights, with its errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import HeatproofError, ModelError
from heatproof_fundus.grader import Grader, dense_head, initialised, narrowed


class Tiny(Grader):
    """A backbone of one convolution; the test sets its torchvision weights."""

    head_name = "top"
    replaced = ("top.", "aside.")
    torchvision_state = staticmethod(lambda **settings: {})

    def backbone(self):
        parts = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(*parts), 4

    def imagenet(self):
        return SimpleNamespace(url="https://example.org/tiny-1234.pth", get_state_dict=self.torchvision_state)


def test_the_head_is_the_published_one():
    kinds = [type(layer) for layer in dense_head(7, 1)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [layer.out_features for layer in dense_head(7, 1) if isinstance(layer, nn.Linear)] == [512, 128, 1]
    assert [layer.p for layer in dense_head(7, 1) if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_one_logit_per_image_and_its_grade():
    model = Tiny(size=32)
    assert model.forward(torch.rand(2, 3, 32, 32))["logits"].shape == (2, 1)
    assert model.read(torch.tensor([0.0]).numpy()).decision == 2
    assert len(model.classes) == 5


def test_with_findings_there_is_a_sigmoid_output_for_each():
    model = Tiny(size=32, findings=["drusen", "scars", "haemorrhages"])
    assert model.forward(torch.rand(2, 3, 32, 32))["logits"].shape == (2, 3)
    assert model.classes == ("drusen", "scars", "haemorrhages")
    prediction = model.read(torch.tensor([0.0, 3.0, -1.0]).numpy())
    assert prediction.decision == 1
    assert prediction.probabilities == pytest.approx(1 / (1 + np.exp([-0.0, -3.0, 1.0])))


def test_findings_have_different_names():
    with pytest.raises(HeatproofError, match="a finding is named twice"):
        Tiny(findings=["drusen", "drusen"])


def test_random_weights_leave_the_random_state_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Tiny(seed=2).network.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert all(torch.equal(value, first[name]) for name, value in Tiny(seed=2).network.state_dict().items())


def test_torchvisions_weights_come_without_the_parts_that_are_replaced(monkeypatch):
    backbone = Tiny(seed=8).network.state_dict()
    state = {name: value for name, value in backbone.items() if not name.startswith("top.")}
    state |= {"top.weight": torch.zeros(3), "aside.bias": torch.zeros(1)}
    monkeypatch.setattr(Tiny, "torchvision_state", staticmethod(lambda **settings: state))
    loaded = Tiny(weights="torchvision").network.state_dict()
    random = Tiny().network.state_dict()
    assert torch.equal(loaded["0.weight"], backbone["0.weight"])
    assert all(torch.equal(loaded[name], random[name]) for name in random if name.startswith("top."))


def test_weights_that_are_not_the_backbones_say_where_the_file_belongs():
    with pytest.raises(ModelError, match=r"Error\(s\) in loading.*/checkpoints/tiny-1234.pth, or set weights to"):
        Tiny(weights="torchvision").build()


def test_convolutions_are_drawn_for_relu():
    torch.manual_seed(0)
    layer = initialised(nn.Sequential(nn.Conv2d(16, 64, 3)))[0]
    assert float(layer.weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert float(layer.bias.detach().abs().max()) == 0


def test_a_narrowed_network_is_the_one_that_was_written_with_fewer_channels():
    """Same names, shapes, strides and outputs as a network spelt out by hand."""

    def network(first, second):
        layers = [nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
        layers += [nn.Conv2d(first, second, 3, dilation=2), nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(*layers).eval()

    narrow = narrowed(network(8, 12), 0.25).eval()
    expected = network(2, 3)
    expected.load_state_dict(narrow.state_dict())
    images = torch.rand(2, 3, 20, 20)
    assert torch.equal(narrow(images), expected(images))
    assert not narrow[3].bias.any()
    with pytest.raises(ModelError, match="0 has 3 groups of channels, which cannot be narrowed"):
        narrowed(nn.Sequential(nn.Conv2d(3, 6, 1, groups=3)), 0.5)
