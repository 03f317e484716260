"""Common networks from their libraries: both views, gradients, and the verdicts of explainers."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, fx, nn
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.folding import pairs
from heatproof.network.layers import outline
from heatproof.network.modules import BATCH_NORMS
from heatproof.network.views import Opaque, View, view
from heatproof.passes import gradients
from heatproof.testing import snapshot
from heatproof.testing.toys import drawn
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.deeplift import DeepLift
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp

CLASSES = 3
BOTH = ("mask", "logits")


def unet() -> nn.Module:
    """The U-Net of Watanabe et al. 2022: its decoder gives a mask, its encoder the classes."""
    return smp.Unet("efficientnet-b0", encoder_weights=None, aux_params={"classes": CLASSES, "dropout": 0.2})


def vgg16() -> nn.Module:
    """VGG16 with a narrower head, since the usual one has 120 million weights."""
    network = models.vgg16()
    idle = nn.ReLU(True), nn.Dropout()
    network.classifier = nn.Sequential(nn.Linear(25088, 32), *idle, nn.Linear(32, 32), *idle, nn.Linear(32, CLASSES))
    return network


def torchvision(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(models, name)(num_classes=CLASSES, **settings)


@dataclass(frozen=True)
class Family:
    """A network: how it is built, its merged norms and activations, the size of its images, and its outputs.

    ``others`` is the number of norms that are not merged, since they follow no convolution.
    """

    build: Callable[[], nn.Module]
    norms: int
    activations: Mapping[str, int]
    size: int = 48
    others: int = 0
    outputs: tuple[str, ...] = ("logits",)


EFFICIENTNET = {"SiLU": 49, "Sigmoid": 16}
DENSE_LAYERS = 6 + 12 + 24 + 16
FAMILIES = {
    "vgg16": Family(vgg16, 0, {"ReLU": 13 + 2}),
    "resnet50": Family(torchvision("resnet50"), 53, {"ReLU": 49}),
    "inception_v3": Family(torchvision("inception_v3", init_weights=False, aux_logits=False), 94, {"ReLU": 94}, 75),
    "inception_v3 with aux_logits and transform_input": Family(
        torchvision("inception_v3", init_weights=False, aux_logits=True, transform_input=True), 94, {"ReLU": 94}, 75
    ),
    # Each dense layer has two norms, of which one follows a convolution; the transitions and the end have one each.
    "densenet121": Family(
        torchvision("densenet121"), 1 + DENSE_LAYERS, {"ReLU": 2 * DENSE_LAYERS + 5}, others=DENSE_LAYERS + 4
    ),
    "mobilenet_v3_small": Family(
        torchvision("mobilenet_v3_small"), 34, {"Hardswish": 19, "ReLU": 5 + 9, "Hardsigmoid": 9}
    ),
    "shufflenet_v2": Family(torchvision("shufflenet_v2_x0_5"), 56, {"ReLU": 37}),
    "googlenet": Family(torchvision("googlenet", init_weights=False, aux_logits=True), 57, {"ReLU": 57}),
    "efficientnet_b0": Family(torchvision("efficientnet_b0"), 49, EFFICIENTNET),
    "timm efficientnet_b0": Family(lambda: timm.create_model("efficientnet_b0", num_classes=CLASSES), 49, EFFICIENTNET),
    "unet": Family(unet, 58, {"SiLU": 48, "Sigmoid": 16, "ReLU": 10}, 64, outputs=BOTH),
}  # fmt: skip
UNTRACEABLE = {
    "padding that asks for the size": lambda: timm.create_model("tf_efficientnet_b0", num_classes=CLASSES),
    "a check of the size": lambda: smp.FPN(
        "resnet18", encoder_weights=None, aux_params={"classes": CLASSES, "pooling": "avg"}
    ),
}


@dataclass(frozen=True)
class Views:
    """The views of a network, and a snapshot of the network before they were built."""

    family: Family
    network: nn.Module
    before: Mapping[str, Any]
    canonical: View
    folded: View
    single: View


def random_images(size: int, count: int = 2, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=rng)


@cache
def calibrated(name: str) -> nn.Module:
    """The network in float64 with random weights; its norms have the statistics of one batch."""
    family = FAMILIES[name]
    with torch.device("meta"):
        network = family.build()
    network = drawn(network.to_empty(device="cpu"), 0).double().eval()
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        network(random_images(family.size, 4, seed=0))
    return network.eval()


FAST = ("mobilenet_v3_small", "shufflenet_v2")
"""Networks that the fast tests fold too."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAMILIES],
)
def views(request: pytest.FixtureRequest) -> Views:
    family = FAMILIES[request.param]
    network = calibrated(request.param)
    images = random_images(family.size)
    before = snapshot.of_networks([network])
    built = [
        view(network, family.outputs, examples, {}, folded)
        for examples, folded in ((images, False), (images, True), (images.float(), True))
    ]
    assert all(isinstance(member, View) for member in built), built[0].reason
    return Views(family, network, before, *built)


def outputs_of(views: Views, images: Tensor) -> dict[str, Tensor]:
    """The outputs of the network itself, by name."""
    outputs = views.network(images)
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    return dict(zip(views.family.outputs, outputs, strict=True))


def gaps(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[float]:
    """The largest difference of each output relative to its largest value."""
    assert actual.keys() == expected.keys()
    return [float((actual[name] - value).abs().max() / value.abs().max()) for name, value in expected.items()]


@torch.no_grad()
def test_the_canonical_view_gives_equal_bits(views):
    images = random_images(views.family.size, seed=2)
    actual, _ = views.canonical(images, {})
    for name, expected in outputs_of(views, images).items():
        assert torch.equal(actual[name], expected)


@torch.no_grad()
def test_the_folded_view_agrees(views):
    images = random_images(views.family.size, seed=2)
    expected = outputs_of(views, images)
    assert max(gaps(views.folded(images, {})[0], expected)) <= 1e-12
    assert max(gaps(views.single(images.float(), {})[0], expected)) <= 1e-4


def test_every_norm_behind_a_convolution_is_merged(views):
    norms = [module for module in views.folded.module.modules() if isinstance(module, BATCH_NORMS)]
    assert len(views.folded.merged) == views.family.norms
    assert not [*pairs(views.folded.module)]
    assert len(norms) == views.family.others


def test_every_activation_is_a_module_of_its_own(views):
    assert Counter(kind.__name__ for kind in outline(views.network).activations) == views.family.activations
    for member in (views.canonical, views.folded):
        called = [node.target for node in member.module.graph.nodes if node.op == "call_module"]
        assert len(called) == len(set(called))


def test_the_network_is_left_as_it_was(views):
    assert snapshot.changes(views.before, snapshot.of_networks([views.network])) == []


# explainers on networks that Van Craenendonck et al. 2020 do not use


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
        pytest.param("timm efficientnet_b0", marks=pytest.mark.slow),
        "unet",
    ],
)
def model(request: pytest.FixtureRequest) -> Model:
    return Model.of(calibrated(request.param), "abc"[:CLASSES], outputs=FAMILIES[request.param].outputs)


def test_the_gradient_is_that_of_the_classes_for_any_further_outputs(model):
    images = random_images(64, seed=3)
    result = gradients(Batch(model, ["a", "b"], images, [0, 2], layers=model.layers()))
    assert result.layers.keys() == set(model.layers())
    close(result.images, plain_gradient(model, images))


def test_the_verdicts(model):
    assert GradCam(layer=model.layers()[0]).verdict(model).level == "exact"
    assert IntegratedGradients().verdict(model).level == "exact"
    for explainer in (GuidedBackprop(), DeconvNet()):
        verdict = explainer.verdict(model)
        assert verdict.level == "approximate"
        assert "SiLU" in verdict.reason
        assert "the rule is published for ReLU" in verdict.reason
    assert DeepLift().verdict(model).level == Lrp().verdict(model).level == "approximate"
    assert "Multiply" in DeepLift().verdict(model).reason
    assert "SiLU" in Lrp().verdict(model).reason
    assert "gate counts as a constant" in Lrp().verdict(model).reason
    assert "interpolate" not in Lrp().verdict(model).reason  # on which only the mask depends


def test_relu_only_is_refused_without_a_relu_between_image_and_classes(model):
    """The ReLUs of the U-Net are in its decoder, so the map would silently be the plain gradient."""
    explainer = GuidedBackprop(act_policy="relu_only")
    assert explainer.verdict(model).level == "undefined"
    with pytest.raises(ModelError, match=f"nothing in {type(model.network).__name__} can be rectified"):
        explainer(Batch(model, ["a"], random_images(64, 1), [0]))


def test_a_layer_that_the_classes_do_not_depend_on_is_refused(model):
    """The U-Net's decoder computes only the mask; Grad-CAM of it would be zero for every class."""
    last = GradCam().layers(model)
    assert model.outline.aside.isdisjoint({*last, *model.layers()})
    modules = {name for name, _ in model.network.named_modules()}
    decoder = {name for name in model.outline.layers & modules if name.startswith(("decoder", "segmentation_head"))}
    assert model.outline.aside & modules == decoder
    if not decoder:
        return
    explainer = GradCam(layer="segmentation_head.0")
    verdict = explainer.verdict(model)
    assert verdict.level == "undefined"
    assert "the output 'logits' of Unet does not depend on the layer 'segmentation_head.0'" in verdict.reason
    with pytest.raises(ModelError, match="name a layer between the image and that output"):
        explainer(Batch(model, ["a"], random_images(64, 1), [0], layers=["segmentation_head.0"]))


def plain_gradient(model: Model, images: Tensor) -> Tensor:
    """The gradient of the first class for the first image and of the last class for the second, without explainer."""
    leaf = images.clone().requires_grad_()
    scores = model.forward(leaf)["logits"]
    (gradient,) = torch.autograd.grad(scores[0, 0] + scores[1, CLASSES - 1], leaf)
    return gradient


def close(actual: Tensor, expected: Tensor) -> None:
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


# what cannot be traced


def test_without_its_check_of_the_size_a_network_can_be_traced():
    network = UNTRACEABLE["a check of the size"]().eval()
    network.requires_divisible_input_shape = False
    result = outline(network, BOTH)
    assert result.reason == ""
    assert "segmentation_head.0" in result.aside
    assert "encoder.layer4" in result.layers - result.aside


@pytest.mark.slow
@pytest.mark.parametrize("build", UNTRACEABLE.values(), ids=UNTRACEABLE)
def test_a_network_that_cannot_be_traced_has_a_reason_and_a_gradient(build):
    torch.manual_seed(0)
    network = build().double().eval()
    images = random_images(64)
    model = Model.of(network, "abc"[:CLASSES], outputs=BOTH if isinstance(network, smp.FPN) else ("logits",))
    assert isinstance(model.view(images, {}), Opaque)
    assert model.view(images, {}).reason == model.outline.reason != ""
    close(gradients(Batch(model, ["a", "b"], images, [0, CLASSES - 1])).images, plain_gradient(model, images))
    for explainer in (GuidedBackprop(), DeconvNet(), DeepLift(), Lrp()):
        verdict = explainer.verdict(model)
        assert verdict.level == "undefined"
        assert model.outline.reason in verdict.reason
    assert GradCam().verdict(model).level == "exact"


# rounding


class Cancelling(nn.Module):
    """A norm that subtracts the bias of a convolution: in float32 rounding errors are large, unless both are merged."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.wrong = wrong
        nn.init.constant_(self.layer.bias, 1e5)
        nn.init.constant_(self.norm.running_mean, 1e5)

    def forward(self, images: Tensor) -> Tensor:
        factor = 1.1 if self.wrong and not isinstance(images, fx.Proxy) else 1.0
        return self.norm(self.layer(images)).square().mean((2, 3)) * factor


@torch.no_grad()
def test_rounding_errors_in_float32_are_accepted():
    torch.manual_seed(0)
    network = Cancelling().eval()
    images = random_images(16).float()
    folded = view(network, ("logits",), images, {}, folded=True)
    assert isinstance(folded, View)
    logits, _ = folded(images, {})
    assert gaps({"logits": network(images)}, logits)[0] > 1e-4
    assert gaps(logits, {"logits": network.double()(images.double())})[0] <= 1e-6


def test_a_wrong_view_is_refused_in_float32_too():
    torch.manual_seed(0)
    opaque = view(Cancelling(wrong=True).eval(), ("logits",), random_images(16).float(), {}, folded=True)
    assert isinstance(opaque, Opaque)
    assert "the output 'logits' (by " in opaque.reason
