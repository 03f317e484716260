"""CLEAR against an example by hand, captum's deconvolution of every class, and the invariants of its two maps."""

import warnings

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution
from torch import Tensor, nn
from torchvision import models

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.canonical import canonical
from heatproof.records import Explanation
from heatproof.testing import conforms, toys
from heatproof_clear.clear import Clear, dominant
from heatproof_clear.responses import responses

LABELS = "the values are class indices and not evidence: a pixel of class 0 responds as much as one of class 1"


def random_images(count: int = 3, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def small(classes: int = 3) -> nn.Sequential:
    """Two convolutions with BatchNorm, ReLU and max-pooling, with random weights in float64."""
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 8 * 8, classes),
    )  # fmt: skip
    return toys.drawn(network, 0).double().eval()


def batch(network: nn.Module, images: Tensor, classes: int = 3, target: int = 0, **changes: object) -> Batch:
    ids = [str(index) for index in range(len(images))]
    return Batch(Model.of(network, map(str, range(classes))), ids, images, [target] * len(images), **changes)


def explained(network: nn.Module, images: Tensor, classes: int = 3, **params: str) -> Explanation:
    return Clear(**params)(batch(network, images, classes))


@conforms(Clear(), Clear(reduction="sum", act_policy="relu_only"))
def test_conformance(check):
    check()


@conforms(Clear(map="class"), expected={"heat lies on the region that decides": LABELS})
def test_conformance_of_the_class_map(check):
    check()


def test_the_maps_of_an_example_by_hand():
    maps = [[[[0.1, 0.9], [0.3, 0.0]], [[0.4, 0.2], [0.3, -0.1]], [[0.2, 0.5], [0.6, -0.3]]]]
    response, classes = dominant(torch.tensor(maps, dtype=torch.float64))
    assert response[0].tolist() == [[0.4, 0.9], [0.6, 0.0]]
    assert classes[0].tolist() == [[1, 0], [2, -1]]


def test_where_classes_share_the_response_the_lowest_has_it():
    response, classes = dominant(torch.tensor([[[-1.0, 2.0, 3.0]], [[-1.0, 2.0, 4.0]], [[-2.0, 2.0, 4.0]]])[None])
    assert response.tolist() == [[[-1.0, 2.0, 4.0]]]
    assert classes.tolist() == [[[-1, 0, 1]]]


REDUCED = {
    "max": lambda values: values.max(1),
    "abs_max": lambda values: np.abs(values).max(1),
    "sum": lambda values: values.sum(1),
    "l2": lambda values: np.sqrt((values**2).sum(1)),
}


@pytest.mark.parametrize("reduction", REDUCED)
def test_captums_deconvolution_of_every_class_agrees(reduction):
    _assert_captum_agrees(small(), random_images(), reduction)


def test_captums_deconvolution_of_every_class_agrees_on_resnet18():
    torch.manual_seed(0)
    _assert_captum_agrees(models.resnet18(num_classes=3).double().eval(), random_images(2), "max")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_captum_agrees_on_the_three_networks(name):
    torch.manual_seed(0)
    settings = {}
    if name == "inception_v3":
        settings = {"aux_logits": False, "init_weights": False}
    network = getattr(models, name)(num_classes=3, **settings).double().eval()
    _assert_captum_agrees(network, random_images(1, 96), "max")


def _assert_captum_agrees(network: nn.Module, images: Tensor, reduction: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces that it sets hooks
        reference = Deconvolution(canonical(network))
        maps = [reference.attribute(images.clone().requires_grad_(), target=index).detach() for index in range(3)]
    reduced = np.stack([REDUCED[reduction](values.numpy()) for values in maps], 1)
    explanation = explained(network, images, reduction=reduction)
    scale = np.abs(reduced).max()
    np.testing.assert_allclose(explanation.values[:, 0].numpy(), reduced.max(1), rtol=0, atol=1e-8 * scale)
    ordered = np.sort(reduced, 1)
    distinct = (ordered[:, -1] - ordered[:, -2] > 1e-6 * scale) & (np.abs(ordered[:, -1]) > 1e-6 * scale)
    expected = np.where(reduced.max(1) > 0, reduced.argmax(1), -1)
    assert distinct.mean() > 0.5
    np.testing.assert_array_equal(explanation.kept["class"].numpy()[distinct], expected[distinct])


def test_channels_are_reduced_before_classes_are_compared():
    """In the other order a pixel's class would be that of its strongest channel for every reduction."""
    network = small()
    images = random_images()
    gradients = responses(batch(network, images), "deconv").numpy()
    other_order = gradients.max(1).sum(1)
    response = explained(network, images, reduction="sum").values[:, 0].numpy()
    np.testing.assert_allclose(response, gradients.sum(2).max(1), rtol=1e-12)
    assert np.abs(response - other_order).max() > 0.01 * np.abs(other_order).max()


def test_the_response_is_that_of_the_class():
    network = small()
    images = random_images()
    explanation = explained(network, images)
    maps = responses(batch(network, images), "deconv").amax(2)
    classes = explanation.kept["class"].long()
    assert {-1, 0, 1, 2} == set(classes.unique().tolist())
    expected = maps.gather(1, classes.clamp_min(0)[:, None])
    responding = classes[:, None] >= 0
    assert torch.equal(explanation.values[responding], expected[responding])
    assert bool((explanation.values[~responding] <= 0).all())


def test_the_order_of_the_classes_changes_only_the_class_map():
    network = small()
    reordered = small()
    order = [2, 0, 1]
    reordered[-1].weight.data = network[-1].weight[order].data
    reordered[-1].bias.data = network[-1].bias[order].data
    first = explained(network, random_images())
    second = explained(reordered, random_images())
    torch.testing.assert_close(first.values, second.values, rtol=1e-12, atol=1e-15)
    labels = torch.tensor([*order, -1], dtype=torch.float64)
    assert torch.equal(first.kept["class"], labels[second.kept["class"].long()])


def test_the_map_that_is_not_the_heatmap_is_stored():
    network = small()
    images = random_images()
    response = explained(network, images)
    classes = explained(network, images, map="class")
    assert response.kept.keys() == {"class"}
    assert classes.kept.keys() == {"response"}
    assert torch.equal(response.kept["class"], classes.values[:, 0])
    assert torch.equal(classes.kept["response"], response.values[:, 0])


def test_no_target_changes_the_maps():
    network = small()
    images = random_images()
    first, *others = [Clear()(batch(network, images, target=target)) for target in range(3)]
    assert all(torch.equal(first.values, other.values) for other in others)
    assert all(torch.equal(first.kept["class"], other.kept["class"]) for other in others)


def test_one_logit_is_one_class():
    explanation = explained(small(1), random_images(), 1)
    assert set(explanation.kept["class"].unique().tolist()) == {-1.0, 0.0}
    assert bool(((explanation.values[:, 0] > 0) == (explanation.kept["class"] == 0)).all())


@pytest.mark.parametrize("name", ["response", "class"])
def test_a_network_that_responds_nowhere_is_degenerate(name):
    network = small()
    network[-1].weight.data.zero_()
    explanation = explained(network, random_images(2), map=name)
    assert explanation.notes == {"degenerate": [1.0, 1.0]}
    classes = explanation.kept.get("class", explanation.values)
    assert bool((classes == -1).all())
    assert explained(small(), random_images(2), map=name).notes == {"degenerate": [0.0, 0.0]}


def test_the_verdict_follows_from_the_activations():
    assert Clear().verdict(Model.of(small(), "abc")).level == "exact"
    assert Clear(act_policy="relu_only").verdict(Model.of(nn.Sequential(nn.Conv2d(3, 1, 1), nn.SiLU()), "a")).level == (
        "undefined"
    )
    assert "no activation" in Clear().verdict(toys.Linear()).reason
