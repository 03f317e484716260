"""Checks maps of activations and gradients of a layer against plain formulas, pytorch-grad-cam and captum."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam as CaptumGuidedGradCam
from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
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
from heatproof.passes import LayerGradient, gradients
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_cam.gradcam import GradCam
from heatproof_cam.gradcam_plus_plus import GradCamPlusPlus
from heatproof_cam.guided_gradcam import GuidedGradCam
from heatproof_cam.hirescam import HiResCam
from heatproof_cam.layercam import LayerCam
from heatproof_cam.respond_cam import RespondCam, cancelling_share
from heatproof_cam.xgradcam import XGradCam

FIRST = [[1.0, 2.0], [3.0, 4.0]]
SECOND = [[0.0, 1.0], [1.0, 0.0]]
LAYERED = pytest.mark.parametrize("kind", [GradCamPlusPlus, RespondCam, GuidedGradCam])
REFERENCES = [(GradCamPlusPlus(), GradCAMPlusPlus), (RespondCam(), XGradCAM)]
KIN = [(XGradCam(), XGradCAM), (LayerCam(), LayerCAM), (HiResCam(relu=True), HiResCAM)]
SCALES = {GradCAMPlusPlus: (1e-12, 1e12), XGradCAM: (1e3, 1.0), LayerCAM: (1.0, 1.0), HiResCAM: (1.0, 1.0)}
"""Factors of activations and gradients for a reference: its epsilon becomes negligible, or equal to ours."""
TARGETS = [2, 0, 1]


class Block(nn.Module):
    """Convolutions with BatchNorm, a ReLU module for each, and a skip connection."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(6)
        self.first_relu = activation()
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(6)
        self.added_relu = activation()
        self.pool = nn.MaxPool2d(2)
        self.third = nn.Conv2d(6, 8, 3, stride=2)
        self.third_relu = activation()
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first_relu(self.first_norm(self.first(images)))
        values = self.pool(self.added_relu(self.second_norm(self.second(values)) + values))
        return self.head(self.third_relu(self.third(values)).mean((2, 3)))


class TwoBranches(nn.Module):
    """Identity convolution and mean for the first two channels, and ReLU and weights per pixel for the third."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 1, bias=False)
        self.head = nn.Linear(2, 1)
        self.third_channel = nn.Linear(4, 1)
        self.convolution.weight.data = torch.eye(2)[..., None, None].clone()
        self.head.weight.data = torch.tensor([[2.0, -1.0]])
        self.third_channel.weight.data = torch.tensor([[3.0, 5.0, 5.0, 1.0]])

    def forward(self, images: Tensor) -> Tensor:
        values = self.head(self.convolution(images[:, :2]).mean((2, 3)))
        return values + self.third_channel(torch.relu(images[:, 2:]).flatten(1))


def random_images(count: int = 3, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    return toys.drawn(network, 0).double().eval()


def batch_of(explainer: Explainer, network: nn.Module, images: Tensor, classes: int = 3, **changes: object) -> Batch:
    model = Model.of(network, map(str, range(classes)))
    ids = [str(index) for index in range(len(images))]
    targets = [TARGETS[index] % classes for index in range(len(images))]
    return Batch(model, ids, images, targets, layers=explainer.layers(model), **changes)


def linear_network(weights: list[list[float]], channels: int = 1) -> nn.Module:
    """An identity convolution and a linear layer; its weights are the gradient of the activations."""
    convolution = nn.Conv2d(channels, channels, 1, bias=False)
    head = nn.Linear(4 * channels, 1)
    convolution.weight.data = torch.eye(channels)[..., None, None].clone()
    head.weight.data = torch.tensor(weights).reshape(1, -1)
    head.bias.data = torch.tensor([0.5])
    return nn.Sequential(convolution, nn.Flatten(), head).double()


def gap(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@conforms(GradCamPlusPlus(), RespondCam(), GuidedGradCam(), GuidedGradCam(layer="all", act_policy="relu_only"),
    GuidedGradCam(interpolation="nearest"), RespondCam(interpolation="nearest"),
)  # fmt: skip
def test_conformance(check):
    check()


@pytest.mark.slow
@conforms(XGradCam(), LayerCam(), HiResCam())
def test_conformance_of_their_kin(check):
    check()


def test_gradcam_plus_plus_has_its_closed_form():
    explainer = GradCamPlusPlus()
    images = torch.tensor([[FIRST]], dtype=torch.float64)
    actual = explainer(batch_of(explainer, linear_network([[0.5, 0.5], [0.5, 0.5]]), images, 1)).values
    torch.testing.assert_close(actual, 2 / 7 * images, rtol=1e-14, atol=0)


def test_respond_cam_has_its_closed_form_and_sums_to_the_score():
    explainer = RespondCam()
    images = torch.tensor([[FIRST, SECOND]], dtype=torch.float64)
    weights = [[0.5] * 4, [-0.25] * 4]  # 2 and -1 over four pixels
    batch = batch_of(explainer, linear_network(weights, 2), images, 1)
    actual = explainer(batch).values
    torch.testing.assert_close(actual[0, 0].tolist(), [[0.5, 0.75], [1.25, 2.0]], rtol=1e-9, atol=1e-9)
    assert float(actual.sum()) == pytest.approx(float(batch.score(images)) - 0.5, rel=1e-9)


def test_respond_cam_has_its_closed_form_where_gradcam_is_zero():
    images = torch.tensor([[FIRST]], dtype=torch.float64)
    network = linear_network([[1.0, 0.0], [0.0, -1.0]])
    batch = batch_of(RespondCam(), network, images, 1)
    actual = RespondCam()(batch)
    torch.testing.assert_close(actual.values[0, 0].tolist(), [[-0.3, -0.6], [-0.9, -1.2]], rtol=1e-9, atol=1e-9)
    assert float(actual.values.sum()) == pytest.approx(-3.0, rel=1e-9)
    assert actual.notes["degenerate"] == [0.0]
    assert GradCam()(batch).notes == {"degenerate": [1.0]}


def test_guided_gradcam_has_its_closed_form():
    third = [[1.0, -1.0], [-1.0, 1.0]]
    images = torch.tensor([[FIRST, SECOND, third]], dtype=torch.float64)
    explainer = GuidedGradCam(layer="convolution")
    actual = explainer(batch_of(explainer, TwoBranches().double(), images, 1))
    assert actual.values[0, 2].tolist() == [[1.5, 0.0], [0.0, 2.0]]
    assert actual.notes["degenerate"] == [0.0]


def plain_gradcam_plus_plus(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The formula of Chattopadhay et al. 2018, channel by channel."""
    heat = np.zeros(activation.shape[1:])
    for values, slope in zip(activation, gradient):
        denominator = 2 * slope**2 + values.sum() * slope**3
        share = np.divide(slope**2, denominator, out=np.zeros_like(denominator), where=slope != 0)
        heat += (share * np.maximum(slope, 0)).sum() * values
    return np.maximum(heat, 0)


def plain_respond_cam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The formula of Zhao et al. 2018, channel by channel."""
    pairs = zip(activation, gradient)
    return sum((values * slope).sum() / (values.sum() + 1e-10) * values for values, slope in pairs)


def plain_layercam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The formula of Jiang et al. 2021, pixel by pixel."""
    heat = np.zeros(activation.shape[1:])
    for channel, row, column in np.ndindex(activation.shape):
        if gradient[channel, row, column] > 0:
            heat[row, column] += gradient[channel, row, column] * activation[channel, row, column]
    return np.maximum(heat, 0)


FORMULAS = [
    (GradCamPlusPlus(), plain_gradcam_plus_plus),
    (RespondCam(), plain_respond_cam),
    (XGradCam(), lambda activation, gradient: np.maximum(plain_respond_cam(activation, gradient), 0)),
    (XGradCam(relu=False), plain_respond_cam),
    (LayerCam(), plain_layercam),
    (HiResCam(), lambda activation, gradient: np.einsum("chw,chw->hw", activation, gradient)),
    (HiResCam(relu=True), lambda activation, gradient: np.einsum("chw,chw->hw", activation, gradient).clip(0)),
]


@pytest.mark.parametrize(
    ("layer", "module"), [("first", "first_relu"), ("second", "second_norm"), ("third", "third_relu")]
)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
def test_the_plain_formula_agrees_on_the_tensor_after_norm_and_activation(layer, module, activation):
    network = drawn(Block(activation))
    images = random_images()
    activations = []
    handle = network.get_submodule(module).register_forward_hook(
        lambda module, arguments, output: activations.append(output)
    )
    scores = network(images).gather(1, torch.tensor(TARGETS)[:, None]).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(scores, activations[0])
    batch = batch_of(GradCam(layer=layer), network, images)
    assert len(batch.view.merged) == 2
    for explainer, formula in FORMULAS:
        maps = [formula(values, slope) for values, slope in zip(activations[0].detach().numpy(), gradient.numpy())]
        heat = torch.from_numpy(np.stack(maps))[:, None]
        expected = functional.interpolate(heat, images.shape[2:], mode="bilinear", align_corners=False)
        assert gap(explainer.with_(layer=layer)(batch).values, expected) <= 1e-8, explainer


def ends(network: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """The network with one module per call, none of them in-place, and the module after a layer's norm and activation.

    pytorch-grad-cam keeps activations without a copy, and in-place modules of torchvision's networks overwrite them.
    """
    module = canonical(network)
    name = View(module, ("logits",)).layers[layer]
    target = next(str(node.target) for node in module.graph.nodes if node.name == name)
    return module, module.get_submodule(target)


def assert_pytorch_grad_cam_agrees(pairs: list, network: nn.Module, layer: str, images: Tensor) -> None:
    """Compare maps before pytorch-grad-cam scales them to 0…1 and resizes them in float32.

    Its epsilons in denominators (1e-6, 1e-7) become negligible by scaling activations and gradients; the weights of the
    papers do not depend on that scale. Its maps are rectified afterwards, as it does with all.
    """
    module, end = ends(network, layer)
    batch = batch_of(GradCam(layer=layer), network, images)
    for explainer, reference in pairs:
        with reference(module, [end]) as cam:
            cam(images, [ClassifierOutputTarget(target) for target in batch.targets.tolist()])
            hooks = cam.activations_and_grads
            activation_scale, gradient_scale = SCALES[reference]
            scaled = hooks.activations[0].numpy() * activation_scale, hooks.gradients[0].numpy() * gradient_scale
            heat = cam.get_cam_image(None, None, None, *scaled, False) / (activation_scale * gradient_scale)
        expected = torch.from_numpy(heat)[:, None]
        if not isinstance(explainer, RespondCam):
            expected = expected.relu()
        actual = explainer.heat(gradients(batch).layers[batch.model.layer(layer)])
        assert gap(actual, expected) <= 1e-8, explainer


@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_pytorch_grad_cam_agrees_on_a_residual_network(layer):
    assert_pytorch_grad_cam_agrees([*REFERENCES, *KIN], drawn(Block()), layer, random_images())


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "layer4.1.conv2"])
def test_pytorch_grad_cam_agrees_on_resnet18(layer):
    torch.manual_seed(0)
    network = models.resnet18(num_classes=3).double().eval()
    assert_pytorch_grad_cam_agrees([*REFERENCES, *KIN], network, layer, random_images(2, 64))


def large(name: str) -> nn.Module:
    """A network of Van Craenendonck et al. 2020 with random weights and few classes."""
    torch.manual_seed(0)
    if name == "vgg16":
        network = models.vgg16(num_classes=3)
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Linear(512, 3)
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
@LARGE
def test_pytorch_grad_cam_agrees_on_the_three_networks(name, layer):
    assert_pytorch_grad_cam_agrees(REFERENCES, large(name), layer, random_images(2, 96))


def test_pytorch_grad_cam_loses_small_gradients():
    """The reason to scale gradients above: pytorch-grad-cam adds 1e-6 to a sum of squared gradients.

    At a gradient of 1e-4, usual before a mean over many pixels, a becomes 2 % of its value 1 / (2 + g sum(A)).
    """
    gradient = np.full((1, 1, 2, 2), 1e-4)
    activation = np.array([[FIRST]])
    library = object.__new__(GradCAMPlusPlus)
    library.activations_and_grads = type("Hooks", (), {"release": lambda self: None})()
    actual = library.get_cam_weights(None, None, None, activation, gradient).item()
    formula = 4 * 1e-4 / (2 + 1e-4 * 10)
    assert plain_gradcam_plus_plus(activation[0], gradient[0]).tolist()[0][0] == pytest.approx(formula, rel=1e-12)
    assert actual / formula == pytest.approx(0.02, rel=0.05)


def test_in_place_layers_overwrite_the_activations_of_pytorch_grad_cam():
    """The reason to compare on networks without in-place modules."""
    network = drawn(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 196, 3)))
    with XGradCAM(network, [network[0]]) as cam:
        cam(random_images(1), [ClassifierOutputTarget(0)])
        activation = cam.activations_and_grads.activations[0]
    assert float(network[0](random_images(1)).detach().min()) < 0 == float(activation.min())


def assert_captum_agrees(
    network: nn.Module, layer: str, images: Tensor, interpolation: str = "linear", mode: str = "bilinear"
) -> None:
    module, end = ends(network, layer)
    explainer = GuidedGradCam(layer=layer, interpolation=interpolation)
    batch = batch_of(explainer, network, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns that it sets hooks
        reference = CaptumGuidedGradCam(module, end)
        leaf = images.clone().requires_grad_()
        expected = reference.attribute(leaf, target=batch.targets, interpolate_mode=mode).detach()
    assert gap(explainer(batch).values, expected) <= 1e-8


@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_captum_agrees_on_guided_gradcam_on_a_residual_network(layer):
    assert_captum_agrees(drawn(Block()), layer, random_images())


@pytest.mark.parametrize("size", [16, 15])
def test_captum_agrees_on_guided_gradcam_with_repeated_values(size):
    """Captum's default."""
    assert_captum_agrees(drawn(Block()), "third", random_images(size=size), "nearest", "nearest")


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "layer4.1.conv2"])
def test_captum_agrees_on_guided_gradcam_on_resnet18(layer):
    torch.manual_seed(0)
    assert_captum_agrees(models.resnet18(num_classes=3).double().eval(), layer, random_images(2, 64))


@pytest.mark.slow
@LARGE
def test_captum_agrees_on_guided_gradcam_on_the_three_networks(name, layer):
    assert_captum_agrees(large(name), layer, random_images(2, 96))


def test_a_cancelling_channel_of_respond_cam_is_noted():
    """Of two channels of a layer without activation, the second sums to 1e-6 of its absolute sum."""
    layer = LayerGradient(
        torch.tensor([[[[1.0, 2.0]], [[1.0, -1 + 2e-6]]], [[[1.0, 2.0]], [[1.0, 1.0]]]], dtype=torch.float64),
        torch.tensor([[[[1.0, 1.0]], [[3.0, -1.0]]], [[[1.0, 1.0]], [[3.0, -1.0]]]], dtype=torch.float64),
    )
    weight = 4 / 2e-6  # (3 + 1) / sum
    part = weight * np.array([1, -1])
    expected = np.linalg.norm(part) / np.linalg.norm(np.array([1, 2]) + part)
    assert cancelling_share(layer).tolist() == [pytest.approx(expected, rel=1e-4), 0]


@pytest.mark.parametrize(("corner", "word"), [(-2 + 1e-6, "ill-conditioned"), (2.0, "well-conditioned")])
def test_respond_cam_says_where_its_weights_are_ill_conditioned(corner, word):
    images = torch.tensor([[[[1.0, -1.0], [2.0, corner]]]], dtype=torch.float64)
    notes = RespondCam()(batch_of(RespondCam(), linear_network([[1.0, 2.0, 3.0, 4.0]]), images, 1)).notes
    assert notes["conditioning"] == [word]
    assert notes["cancelling_share"] == [1.0 if word == "ill-conditioned" else 0.0]


def test_traits_follow_relu():
    for kind in (XGradCam, HiResCam):
        assert kind(relu=True).traits == {"differentiable"}
        assert kind(relu=False).traits == {"differentiable", "signed"}
    assert LayerCam(relu=False).traits == {"differentiable"}
    notes = XGradCam()(
        batch_of(XGradCam(), linear_network([[1.0, 2.0, 3.0, 4.0]]), random_images(1, 2)[:, :1], 1)
    ).notes
    assert set(notes) == {"degenerate", "cancelling_share", "conditioning"}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("layer", ["0", "3"])
def test_respond_cam_and_hirescam_sum_to_the_score_if_the_rest_of_the_network_scales_with_the_layer(layer, dimensions):
    model = in_float64(toys.Piecewise(dimensions=dimensions))
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(2)]).double()
    batch = Batch(model, ["a", "b"], images, [0, 1], layers=(layer,))
    for explainer in (RespondCam(layer=layer), HiResCam(layer=layer)):
        heat = explainer.heat(gradients(batch).layers[layer])
        torch.testing.assert_close(heat.flatten(1).sum(1), batch.score(images), rtol=1e-8, atol=1e-12)
        assert explainer(batch).values.shape == (2, 1, *batch.space)


def test_guided_gradcam_is_zero_where_gradcam_is():
    explainer = GuidedGradCam(layer="third")
    batch = batch_of(explainer, drawn(Block()), random_images())
    cam = GradCam(layer="third")(batch).values.expand(-1, 3, -1, -1)
    actual = explainer(batch).values
    assert bool((cam == 0).any())
    assert not actual[cam == 0].any()


def test_all_maps_of_all_layers_take_one_forward_and_one_backward(monkeypatch):
    network = drawn(Block())
    counts = Counter()
    batch = batch_of(GradCam(), network, random_images())
    batch.layers = batch.model.layers()
    forward = View.__call__
    backward = torch.autograd.grad
    assert len(batch.view.merged) == 2
    monkeypatch.setattr(
        View, "__call__", lambda *arguments, **settings: counts.update(["forward"]) or forward(*arguments, **settings)
    )
    monkeypatch.setattr(
        torch.autograd,
        "grad",
        lambda *arguments, **settings: counts.update(["backward"]) or backward(*arguments, **settings),
    )
    for kind in (GradCam, GradCamPlusPlus, RespondCam, XGradCam, LayerCam, HiResCam):
        maps = [explainer(batch).values for explainer in kind(layer="all").expand(batch.model)]
        assert [values.shape for values in maps] == [(3, 1, 16, 16)] * 3
    assert counts == {"forward": 1, "backward": 1}
    for explainer in GuidedGradCam(layer="all").expand(batch.model):
        assert explainer(batch).values.shape == (3, 3, 16, 16)
    assert counts == {"forward": 2, "backward": 2}


@pytest.mark.parametrize("kind", [GradCamPlusPlus, RespondCam, GuidedGradCam, XGradCam, LayerCam, HiResCam])
def test_layers_are_named_as_for_gradcam(kind):
    model = toys.Residual()
    assert [explainer.params.layer for explainer in kind(layer="all").expand(model)] == ["stem", "block", "last"]
    assert kind().layers(model) == ("last",)
    with pytest.raises(ModelError, match=r"Residual has no layer 'steam'; did you mean 'stem'"):
        kind(layer="steam").layers(model)


@LAYERED
def test_a_network_without_convolutions_is_undefined(kind):
    verdict = kind().verdict(toys.Linear())
    assert verdict.level == "undefined"
    assert "layers" in verdict.reason


@LAYERED
def test_a_map_of_zeros_is_noted_as_degenerate(kind):
    network = drawn(Block())
    network.head.weight.data[0] = 0.0
    explainer = kind()
    actual = explainer(batch_of(explainer, network, random_images()))
    assert actual.notes["degenerate"] == [0.0, 1.0, 0.0]
    assert not actual.values[1].any()


@pytest.mark.parametrize(
    ("activation", "policy", "level"),
    [(nn.ReLU, "all", "exact"), (nn.SiLU, "all", "approximate"), (nn.SiLU, "relu_only", "undefined")],
)
def test_guided_gradcam_has_the_verdict_of_guided_backpropagation(activation, policy, level):
    explainer = GuidedGradCam(act_policy=policy)
    model = Model.of(Block(activation), "abc")
    assert explainer.verdict(model).level == level
    assert explainer.requests(model) == (("rectified", policy, "guided"),)
