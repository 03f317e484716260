"""Grad-CAM++, Respond-CAM and guided Grad-CAM against vectors, plain formulas, pytorch-grad-cam and captum."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam as CaptumGuidedGradCam
from pytorch_grad_cam import GradCAMPlusPlus, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.network.canonical import canonical
from heatproof.network.views import View
from heatproof.passes import gradients
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_cam.gradcam import GradCam
from heatproof_cam.gradcam_plus_plus import GradCamPlusPlus
from heatproof_cam.guided_gradcam import GuidedGradCam
from heatproof_cam.respond_cam import RespondCam

FIRST = [[1.0, 2.0], [3.0, 4.0]]
SECOND = [[0.0, 1.0], [1.0, 0.0]]
LAYERED = pytest.mark.parametrize("kind", [GradCamPlusPlus, RespondCam, GuidedGradCam])
REFERENCES = [(GradCamPlusPlus(), GradCAMPlusPlus), (RespondCam(), XGradCAM)]
SCALES = {GradCAMPlusPlus: (1e-12, 1e12), XGradCAM: (1e3, 1.0)}
"""By how much activations and gradients are scaled for a reference: so that its epsilon vanishes, or equals ours."""
TARGETS = [2, 0, 1]


class Block(nn.Module):
    """Convolutions with BatchNorm, a ReLU module for each, and a skip connection."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first, self.first_norm, self.first_relu = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), activation()
        self.second, self.second_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.added_relu, self.pool = activation(), nn.MaxPool2d(2)
        self.third, self.third_relu = nn.Conv2d(6, 8, 3, stride=2), activation()
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first_relu(self.first_norm(self.first(images)))
        values = self.pool(self.added_relu(self.second_norm(self.second(values)) + values))
        return self.head(self.third_relu(self.third(values)).mean((2, 3)))


class Apart(nn.Module):
    """The network of vector V-CAM on the first two channels, and a ReLU that is read pixel by pixel on the third."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head, self.side = nn.Conv2d(2, 2, 1, bias=False), nn.Linear(2, 1), nn.Linear(4, 1)
        self.convolution.weight.data = torch.eye(2)[..., None, None].clone()
        self.head.weight.data, self.side.weight.data = torch.tensor([[2.0, -1.0]]), torch.tensor([[3.0, 5.0, 5.0, 1.0]])

    def forward(self, images: Tensor) -> Tensor:
        values = self.head(self.convolution(images[:, :2]).mean((2, 3)))
        return values + self.side(torch.relu(images[:, 2:]).flatten(1))


def images(count: int = 3, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    return toys.drawn(network, 0).double().eval()


def batch(explainer: Explainer, network: nn.Module, made: Tensor, classes: int = 3, **changes: object) -> Batch:
    model, ids = Model.of(network, map(str, range(classes))), [str(index) for index in range(len(made))]
    targets = [TARGETS[index] % classes for index in range(len(made))]
    return Batch(model, ids, made, targets, layers=explainer.layers(model), **changes)


def read_by(weights: list[list[float]], channels: int = 1) -> nn.Module:
    """An identity convolution, and a linear layer whose weights are the gradient of the activations."""
    convolution, head = nn.Conv2d(channels, channels, 1, bias=False), nn.Linear(4 * channels, 1)
    convolution.weight.data = torch.eye(channels)[..., None, None].clone()
    head.weight.data, head.bias.data = torch.tensor(weights).reshape(1, -1), torch.tensor([0.5])
    return nn.Sequential(convolution, nn.Flatten(), head).double()


def gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@conforms(GradCamPlusPlus(), RespondCam(), GuidedGradCam(), GuidedGradCam(layer="all", act_policy="relu_only"))
def test_conformance(check):
    check()


def test_the_vector_of_gradcam_plus_plus():
    explainer, made = GradCamPlusPlus(), torch.tensor([[FIRST]], dtype=torch.float64)
    found = explainer(batch(explainer, read_by([[0.5, 0.5], [0.5, 0.5]]), made, 1)).values
    torch.testing.assert_close(found, 2 / 7 * made, rtol=1e-14, atol=0)


def test_the_vector_v_resp_on_the_network_of_v_cam():
    explainer, made = RespondCam(), torch.tensor([[FIRST, SECOND]], dtype=torch.float64)
    weights = [[0.5] * 4, [-0.25] * 4]  # 2 and -1 over four pixels
    given = batch(explainer, read_by(weights, 2), made, 1)
    found = explainer(given).values
    torch.testing.assert_close(found[0, 0].tolist(), [[0.5, 0.75], [1.25, 2.0]], rtol=1e-9, atol=1e-9)
    assert float(found.sum()) == pytest.approx(float(given.score(made)) - 0.5, rel=1e-9)


def test_the_vector_v_resp_where_gradcam_is_silent():
    made = torch.tensor([[FIRST]], dtype=torch.float64)
    network = read_by([[1.0, 0.0], [0.0, -1.0]])
    given = batch(RespondCam(), network, made, 1)
    found = RespondCam()(given)
    torch.testing.assert_close(found.values[0, 0].tolist(), [[-0.3, -0.6], [-0.9, -1.2]], rtol=1e-9, atol=1e-9)
    assert float(found.values.sum()) == pytest.approx(-3.0, rel=1e-9)
    assert found.notes == {"degenerate": [0.0]}
    assert GradCam()(given).notes == {"degenerate": [1.0]}


def test_the_vector_of_guided_gradcam():
    third = [[1.0, -1.0], [-1.0, 1.0]]
    made = torch.tensor([[FIRST, SECOND, third]], dtype=torch.float64)
    explainer = GuidedGradCam()
    found = explainer(batch(explainer, Apart().double(), made, 1))
    assert found.values[0, 2].tolist() == [[1.5, 0.0], [0.0, 2.0]]
    assert found.notes == {"degenerate": [0.0]}


def plain_gradcam_plus_plus(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Specification 7.10, written as there, channel by channel."""
    heat = np.zeros(activation.shape[1:])
    for values, slope in zip(activation, gradient):
        below = 2 * slope**2 + values.sum() * slope**3
        share = np.divide(slope**2, below, out=np.zeros_like(below), where=slope != 0)
        heat += (share * np.maximum(slope, 0)).sum() * values
    return np.maximum(heat, 0)


def plain_respond_cam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Specification 7.8, written as there, channel by channel."""
    pairs = zip(activation, gradient)
    return sum((values * slope).sum() / (values.sum() + 1e-10) * values for values, slope in pairs)


@pytest.mark.parametrize(
    ("explainer", "formula"), [(GradCamPlusPlus(), plain_gradcam_plus_plus), (RespondCam(), plain_respond_cam)]
)
@pytest.mark.parametrize(
    ("layer", "module"), [("first", "first_relu"), ("second", "second_norm"), ("third", "third_relu")]
)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
def test_the_plain_formula_on_the_tensor_after_norm_and_activation_agrees(
    explainer, formula, layer, module, activation
):
    network, made, kept = drawn(Block(activation)), images(), []
    handle = network.get_submodule(module).register_forward_hook(lambda *seen: kept.append(seen[2]))
    scores = network(made).gather(1, torch.tensor(TARGETS)[:, None]).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(scores, kept[0])
    maps = [formula(values, slope) for values, slope in zip(kept[0].detach().numpy(), gradient.numpy())]
    heat = torch.from_numpy(np.stack(maps))[:, None]
    expected = functional.interpolate(heat, made.shape[2:], mode="bilinear", align_corners=False)
    explainer = explainer.with_(layer=layer)
    given = batch(explainer, network, made)
    assert len(given.view.merged) == 2
    assert gap(explainer(given).values, expected) <= 1e-8


def ends(network: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """The network with modules of its own for every call, out of place, and the module that ends a layer's chain.

    pytorch-grad-cam keeps activations without a copy: in torchvision's networks the next layer overwrites them.
    """
    module = canonical(network)
    name = View(module, ("logits",)).layers[layer]
    target = next(str(node.target) for node in module.graph.nodes if node.name == name)
    return module, module.get_submodule(target)


def assert_pytorch_grad_cam_agrees(explainer, reference: type, network: nn.Module, layer: str, made: Tensor) -> None:
    """The weights before its scaling to 0…1, which also resizes in float32.

    What it adds to denominators (1e-6, 1e-7) is taken out of the way by scaling what it is given, to which the weights
    of the paper are indifferent.
    """
    module, end = ends(network, layer)
    explainer = explainer.with_(layer=layer)
    given = batch(explainer, network, made)
    with reference(module, [end]) as cam:
        cam(made, [ClassifierOutputTarget(target) for target in given.targets.tolist()])
        seen = cam.activations_and_grads
        activation, gradient = seen.activations[0].numpy(), seen.gradients[0].numpy()
        larger, steeper = SCALES[reference]
        weights = cam.get_cam_weights(None, None, None, activation * larger, gradient * steeper) / steeper
    expected = torch.from_numpy((weights[..., None, None] * activation).sum(1, keepdims=True))
    found = explainer.heat(gradients(given).layers[given.model.layer(layer)])
    assert gap(found, expected.relu() if reference is GradCAMPlusPlus else expected) <= 1e-8


@pytest.mark.parametrize(("explainer", "reference"), REFERENCES)
@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_pytorch_grad_cam_agrees_on_a_residual_net(layer, explainer, reference):
    assert_pytorch_grad_cam_agrees(explainer, reference, drawn(Block()), layer, images())


@pytest.mark.parametrize(("explainer", "reference"), REFERENCES)
@pytest.mark.parametrize("layer", ["conv1", "layer4.1.conv2"])
def test_pytorch_grad_cam_agrees_on_resnet18(layer, explainer, reference):
    torch.manual_seed(0)
    network = models.resnet18(num_classes=3).double().eval()
    assert_pytorch_grad_cam_agrees(explainer, reference, network, layer, images(2, 64))


def large(name: str) -> nn.Module:
    """A network of Van Craenendonck et al. 2020 with random weights and few classes."""
    torch.manual_seed(0)
    if name == "vgg16":
        network = models.vgg16(num_classes=3)
        network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 3)
    elif name == "resnet50":
        network = models.resnet50(num_classes=3)
    else:
        network = models.inception_v3(num_classes=3, aux_logits=False, init_weights=False)
    return network.double().eval()


LARGE = pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg16", "features.28"), ("resnet50", "layer4.2.conv3"), ("inception_v3", "Mixed_7c.branch_pool.conv")],
)


@pytest.mark.slow
@pytest.mark.parametrize(("explainer", "reference"), REFERENCES)
@LARGE
def test_pytorch_grad_cam_agrees_on_the_three_networks(name, layer, explainer, reference):
    assert_pytorch_grad_cam_agrees(explainer, reference, large(name), layer, images(2, 96))


def test_pytorch_grad_cam_loses_small_gradients():
    """Why its Grad-CAM++ is no reference at ordinary gradients: it adds 1e-6 to a sum of squared gradients.

    At a gradient of 1e-4, usual behind an average over many pixels, a becomes 0.01 of what it is, 1 / (2 + g sum(A)).
    """
    gradient, activation = np.full((1, 1, 2, 2), 1e-4), np.array([[FIRST]])
    library = object.__new__(GradCAMPlusPlus)
    library.activations_and_grads = type("Hooks", (), {"release": lambda self: None})()
    found = library.get_cam_weights(None, None, None, activation, gradient).item()
    formula = 4 * 1e-4 / (2 + 1e-4 * 10)
    assert plain_gradcam_plus_plus(activation[0], gradient[0]).tolist()[0][0] == pytest.approx(formula, rel=1e-12)
    assert found / formula == pytest.approx(0.02, rel=0.05)


def test_pytorch_grad_cam_sees_what_the_next_layer_left():
    """Why it is given out-of-place networks here: it keeps activations without a copy."""
    network = drawn(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 196, 3)))
    with XGradCAM(network, [network[0]]) as cam:
        cam(images(1), [ClassifierOutputTarget(0)])
        kept = cam.activations_and_grads.activations[0]
    assert float(network[0](images(1)).detach().min()) < 0 == float(kept.min())


def assert_captum_agrees(network: nn.Module, layer: str, made: Tensor) -> None:
    module, end = ends(network, layer)
    explainer = GuidedGradCam(layer=layer)
    given = batch(explainer, network, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces that it sets hooks
        reference = CaptumGuidedGradCam(module, end)
        leaf = made.clone().requires_grad_()
        expected = reference.attribute(leaf, target=given.targets, interpolate_mode="bilinear").detach()
    assert gap(explainer(given).values, expected) <= 1e-8


@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_captum_agrees_on_guided_gradcam_on_a_residual_net(layer):
    assert_captum_agrees(drawn(Block()), layer, images())


@pytest.mark.parametrize("layer", ["conv1", "layer4.1.conv2"])
def test_captum_agrees_on_guided_gradcam_on_resnet18(layer):
    torch.manual_seed(0)
    assert_captum_agrees(models.resnet18(num_classes=3).double().eval(), layer, images(2, 64))


@pytest.mark.slow
@LARGE
def test_captum_agrees_on_guided_gradcam_on_the_three_networks(name, layer):
    assert_captum_agrees(large(name), layer, images(2, 96))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("layer", ["0", "3"])
def test_respond_cam_sums_to_the_score_where_the_rest_of_the_network_scales_with_the_layer(layer, dimensions):
    model, explainer = in_float64(toys.Piecewise(dimensions=dimensions)), RespondCam(layer=layer)
    made = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(2)]).double()
    given = Batch(model, ["a", "b"], made, [0, 1], layers=(layer,))
    heat = explainer.heat(gradients(given).layers[layer])
    torch.testing.assert_close(heat.flatten(1).sum(1), given.score(made), rtol=1e-8, atol=1e-12)
    assert explainer(given).values.shape == (2, 1, *given.space)


def test_guided_gradcam_is_zero_wherever_either_factor_is():
    explainer = GuidedGradCam(layer="third")
    given = batch(explainer, drawn(Block()), images())
    cam = GradCam(layer="third")(given).values.expand(-1, 3, -1, -1)
    found = explainer(given).values
    assert bool((cam == 0).any())
    assert not found[cam == 0].any()


def test_all_maps_of_all_layers_take_one_forward_and_one_backward(monkeypatch):
    network, counts = drawn(Block()), Counter()
    given = batch(GradCam(), network, images())
    given.layers = given.model.layers()
    forward, backward = View.__call__, torch.autograd.grad
    assert len(given.view.merged) == 2
    monkeypatch.setattr(View, "__call__", lambda *given, **set: counts.update(["forward"]) or forward(*given, **set))
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *given, **set: counts.update(["backward"]) or backward(*given, **set)
    )
    for kind in (GradCam, GradCamPlusPlus, RespondCam):
        maps = [explainer(given).values for explainer in kind(layer="all").expand(given.model)]
        assert [values.shape for values in maps] == [(3, 1, 16, 16)] * 3
    assert counts == {"forward": 1, "backward": 1}
    for explainer in GuidedGradCam(layer="all").expand(given.model):
        assert explainer(given).values.shape == (3, 3, 16, 16)
    assert counts == {"forward": 2, "backward": 2}


@LAYERED
def test_layers_are_named_as_for_gradcam(kind):
    model = toys.Residual()
    assert [made.params.layer for made in kind(layer="all").expand(model)] == ["stem", "block", "last"]
    assert kind().layers(model) == ("last",)
    with pytest.raises(ModelError, match="Residual has no layer 'steam'; did you mean 'stem'"):
        kind(layer="steam").layers(model)


@LAYERED
def test_a_network_without_convolutions_is_undefined(kind):
    verdict = kind().verdict(toys.Linear())
    assert verdict.level == "undefined"
    assert "layers" in verdict.reason


@LAYERED
def test_a_sample_for_which_nothing_speaks_is_noted_as_degenerate(kind):
    network = drawn(Block())
    network.head.weight.data[0] = 0.0
    explainer = kind()
    found = explainer(batch(explainer, network, images()))
    assert found.notes == {"degenerate": [0.0, 1.0, 0.0]}
    assert not found.values[1].any()


@pytest.mark.parametrize(
    ("activation", "policy", "level"),
    [(nn.ReLU, "all", "exact"), (nn.SiLU, "all", "approximate"), (nn.SiLU, "relu_only", "undefined")],
)
def test_guided_gradcam_has_the_verdict_of_guided_backpropagation(activation, policy, level):
    explainer, model = GuidedGradCam(act_policy=policy), Model.of(Block(activation), "abc")
    assert explainer.verdict(model).level == level
    assert explainer.requests(model) == (("rectified", policy, "guided"),)
