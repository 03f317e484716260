"""Class activation maps against their vector, plain sums over features, and what they owe to the score."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.passes import gradients, logits
from heatproof.records import Explanation
from heatproof.testing import conforms, toys
from heatproof_cam.cam import Cam
from heatproof_cam.gradcam import GradCam
from heatproof_cam.respond_cam import RespondCam

FIRST = [[1.0, 2.0], [3.0, 4.0]]
SECOND = [[0.0, 1.0], [1.0, 0.0]]
POOLINGS = {
    ("average", 2): nn.AdaptiveAvgPool2d, ("maximum", 2): nn.AdaptiveMaxPool2d,
    ("average", 3): nn.AdaptiveAvgPool3d, ("maximum", 3): nn.AdaptiveMaxPool3d,
}  # fmt: skip


def model_of(network: nn.Module, classes: int = 3) -> Model:
    """A model of a network that may also give a mask."""
    return Model.of(network, map(str, range(classes)), outputs=("logits", "mask"))


class Ending(nn.Module):
    """A convolution, and whatever follows."""

    def __init__(self, ending: object, features: int = 6):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.mask, self.head, self.ending = nn.Conv2d(6, 1, 1), nn.Linear(features, 3), ending

    def forward(self, images: Tensor) -> object:
        return self.ending(self, self.features(images))


class Driven(nn.Module):
    """A network with a further input."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 3)

    def forward(self, images: Tensor, gain: Tensor) -> Tensor:
        return self.head((self.features(images) * gain[:, None, None, None]).mean((2, 3)))


ENDINGS = {
    "mean": lambda net, values: net.head(values.mean((2, 3))),
    "mean from behind": lambda net, values: net.head(torch.mean(values, dim=(-1, -2), keepdim=True).flatten(1)),
    "function": lambda net, values: net.head(functional.adaptive_avg_pool2d(values, 1).view(-1, 6)),
    "maximum": lambda net, values: net.head(functional.adaptive_max_pool2d(values, (1, 1)).squeeze(-1).squeeze(-1)),
    "dropout": lambda net, values: net.head(functional.dropout(values.mean((2, 3)), 0.5, net.training)),
    "dictionary": lambda net, values: {"mask": net.mask(values), "logits": net.head(values.mean((2, 3)))},
    "tuple": lambda net, values: (net.head(values.mean((2, 3))), net.mask(values)),
}
OTHER_ENDINGS = {
    "hidden layer": (lambda net, values: net.head(functional.relu(values.mean((2, 3)))), "layer reads ReLU"),
    "grid": (lambda net, values: net.head(functional.adaptive_avg_pool2d(values, 2).flatten(1)), "output_size=2"),
    "channels": (lambda net, values: net.head(values.mean(1).flatten(1)), "last linear layer reads Mean"),
    "window": (lambda net, values: net.head(functional.avg_pool2d(values, 8).flatten(1)), "reads AvgPool2d"),
    "no pooling": (lambda net, values: net.head(values.flatten(1)), "last linear layer reads ReLU"),
    "no layer": (lambda net, values: values.mean((2, 3)), "the output comes from Mean"),
    "sigmoid": (lambda net, values: torch.sigmoid(net.head(values.mean((2, 3)))), "the output comes from Sigmoid"),
}


def images(count: int = 3, size: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    return toys.drawn(network, 0).double().eval()


def batch(model: Model, made: Tensor, targets: list[int], **changes: object) -> Batch:
    return Batch(model, [str(index) for index in range(len(made))], made, targets, **changes)


def explained(network: nn.Module, made: Tensor, targets: list[int], classes: int = 3) -> Explanation:
    return Cam()(batch(model_of(network, classes), made, targets))


def vector_model(pooling: str, dimensions: int = 2) -> nn.Module:
    """Identity convolution, global pooling, linear layer with bias 0.5: the network of vector V-CAM."""
    convolution = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(2, 2, 1, bias=False)
    convolution.weight.data = torch.eye(2)[(..., *(None,) * dimensions)].clone()
    head = nn.Linear(2, 1)
    head.weight.data, head.bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])
    return nn.Sequential(convolution, POOLINGS[pooling, dimensions](1), nn.Flatten(), nn.Dropout(), head).double()


@conforms(Cam())
def test_conformance(check):
    check()


@pytest.mark.parametrize(("pooling", "score"), [("average", 5.0), ("maximum", 7.5)])
def test_the_vector_v_cam(pooling, score):
    made = torch.tensor([[FIRST, SECOND]], dtype=torch.float64)
    given = batch(model_of(vector_model(pooling), 1), made, [0])
    explanation = Cam()(given)
    assert float(given.score(made)) == score
    assert explanation.values[0, 0].tolist() == [[2.0, 3.0], [5.0, 8.0]]
    assert explanation.notes == {"degenerate": [0.0]}


@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_the_vector_v_cam_in_a_volume(pooling):
    made = torch.tensor([[[FIRST], [SECOND]]], dtype=torch.float64)
    assert explained(vector_model(pooling, 3), made, [0], 1).values[0, 0].tolist() == [[[2.0, 3.0], [5.0, 8.0]]]


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_the_pooling_is_written_the_map_is_the_weighted_sum(ending):
    network = drawn(Ending(ENDINGS[ending]))
    explanation = explained(network, images(), [2, 0, 1])
    features, weights = (values.detach().numpy() for values in (network.features(images()), network.head.weight))
    for row, target in enumerate([2, 0, 1]):
        expected = sum(weight * values for weight, values in zip(weights[target], features[row]))
        torch.testing.assert_close(
            explanation.values[row, 0], torch.from_numpy(expected), rtol=1e-10, atol=1e-12
        )  # fmt: skip


@pytest.mark.parametrize("ending", OTHER_ENDINGS)
def test_on_another_ending_it_is_undefined(ending):
    made, reason = OTHER_ENDINGS[ending]
    verdict = Cam().verdict(model_of(Ending(made)))
    assert verdict.level == "undefined"
    assert "cam needs a network that ends in a global pooling and one linear layer; here" in verdict.reason
    assert reason in verdict.reason
    with pytest.raises(ModelError, match="cam needs a network that ends in"):
        explained(Ending(made).double(), images(), [0, 0, 0])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (toys.Regions(), "here the last linear layer reads ReLU"),
        (toys.Linear(), "needs layers, which Linear does not offer"),
        (
            model_of(models.vgg11(), 1000),
            "here the last linear layer reads ReLU",
        ),
        (
            model_of(models.squeezenet1_1(), 1000),
            "here the output comes from AdaptiveAvgPool2d",
        ),
    ],
    ids=["regions", "linear", "vgg11", "squeezenet"],
)
def test_networks_of_another_form_are_undefined(model, reason):
    verdict = Cam().verdict(model)
    assert verdict.level == "undefined"
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("name", "part"), [("resnet18", "layer4"), ("mobilenet_v3_small", None), ("densenet121", "features")]
)
def test_on_published_networks_it_is_exact_where_they_have_the_form(name, part):
    torch.manual_seed(0)
    network = getattr(models, name)(num_classes=3).double().eval()
    verdict = Cam().verdict(model_of(network))
    assert verdict.level == ("undefined" if part is None else "exact")
    if part is not None:
        _assert_the_mean_is_the_score(network, images(2, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_on_the_three_networks_the_mean_is_the_score(name):
    torch.manual_seed(0)
    settings = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    network = getattr(models, name)(num_classes=3, **settings)
    if name == "vgg16":
        network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 3)
    _assert_the_mean_is_the_score(network.double().eval(), images(2, 96))


def _assert_the_mean_is_the_score(network: nn.Module, made: Tensor) -> None:
    """For average pooling: before it is resized the map's mean is the score less the bias."""
    given, kept = batch(model_of(network), made, [2, 1]), []
    handle = _pooling(network).register_forward_pre_hook(lambda module, arguments: kept.append(arguments[0]))
    scores = network(made)
    handle.remove()
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    maps = torch.einsum("nk,nkhw->nhw", head.weight[[2, 1]], kept[0])
    own = scores[[0, 1], [2, 1]]
    torch.testing.assert_close(maps.mean((1, 2)) + head.bias[[2, 1]], own, rtol=1e-8, atol=1e-10)
    expected = functional.interpolate(maps[:, None], made.shape[2:], mode="bilinear", align_corners=False).detach()
    found = Cam()(given).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


def _pooling(network: nn.Module) -> nn.Module:
    """The pooling module; DenseNet, which pools by a function behind a function, gets one in its place."""
    if not isinstance(network, models.DenseNet):
        return network.avgpool
    features, pooling = network.features, nn.AdaptiveAvgPool2d(1)
    network.forward = lambda made: network.classifier(pooling(functional.relu(features(made))).flatten(1))
    return pooling


def test_what_gradcam_and_respond_cam_have_to_do_with_it():
    """Behind an average Grad-CAM is ReLU(CAM) / pixels; Respond-CAM is CAM / pixels and sums to score less bias."""
    network = drawn(Ending(ENDINGS["mean"]))
    given = batch(model_of(network), images(), [2, 0, 1], layers=("features.0",))
    cam, pixels = Cam()(given).values, 64
    torch.testing.assert_close(GradCam()(given).values, cam.relu() / pixels, rtol=1e-10, atol=1e-15)
    respond = RespondCam()(given).values
    torch.testing.assert_close(respond, cam / pixels, rtol=1e-7, atol=1e-12)
    scores = given.pick(logits(given)) - network.head.bias[[2, 0, 1]].detach()
    torch.testing.assert_close(respond.sum((1, 2, 3)), scores, rtol=1e-7, atol=1e-12)


def test_behind_a_maximum_the_gradient_is_the_weight_where_the_maximum_is():
    network = drawn(Ending(ENDINGS["maximum"]))
    given = batch(model_of(network), images(), [2, 0, 1], layers=("features.0",))
    layer = gradients(given).layers["features.0"]
    at_maximum = (layer.gradient * layer.activation).sum((1, 2, 3))
    scores = given.pick(logits(given)) - network.head.bias[[2, 0, 1]].detach()
    torch.testing.assert_close(at_maximum, scores, rtol=1e-10, atol=1e-12)
    weighted = torch.einsum("nk,nkhw->nhw", network.head.weight[[2, 0, 1]].detach(), layer.activation)
    torch.testing.assert_close(Cam()(given).values[:, 0], weighted, rtol=1e-10, atol=1e-12)


def test_a_further_input_reaches_the_features():
    network, gain = drawn(Driven()), torch.tensor([1.0, -2.0], dtype=torch.float64)
    plain, scaled = (
        Cam()(batch(model_of(network), images(2), [0, 0], inputs={"gain": value})).values
        for value in (torch.ones(2, dtype=torch.float64), gain)
    )
    torch.testing.assert_close(scaled, plain * gain[:, None, None, None], rtol=1e-12, atol=1e-14)


def test_it_takes_no_backward_and_leaves_other_outputs_alone(monkeypatch):
    network = drawn(Ending(ENDINGS["dictionary"]))
    given, called = batch(model_of(network), images(), [0, 1, 2]), []
    given.view.module.get_submodule("mask").register_forward_hook(lambda *seen: called.append(seen))
    monkeypatch.setattr(torch.autograd, "grad", lambda *given, **settings: 1 / 0)
    Cam()(given)
    assert called == []


def test_a_target_outside_the_classes_is_an_error():
    with pytest.raises(ModelError, match="target 3 is outside the 3 classes"):
        explained(drawn(Ending(ENDINGS["mean"])), images(), [0, 3, 0])


def test_an_output_that_the_network_has_not_is_an_error():
    given = batch(model_of(drawn(Ending(ENDINGS["mean"]))), images(), [0, 1, 2])
    given.output = "mask"
    with pytest.raises(ModelError, match="has no output 'mask'; it has logits"):
        Cam()(given)


def test_a_network_without_weights_is_noted_as_degenerate():
    network = drawn(Ending(ENDINGS["mean"]))
    network.head.weight.data[1] = 0.0
    explanation = explained(network, images(), [0, 1, 2])
    assert explanation.notes == {"degenerate": [0.0, 1.0, 0.0]}
