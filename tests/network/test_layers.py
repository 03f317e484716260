"""Layers: both views observe the output of any module of a network by its path."""

from collections.abc import Mapping

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.network.layers import layers_of, outline
from heatproof.network.views import View, view
from heatproof.passes import gradients
from heatproof.testing.toys import drawn
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.gradient import Gradient

CLASSES = ("a", "b", "c")


class Stage(nn.Module):
    """A block with an in-place ReLU, and an Identity after its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Identity())
        self.relu = nn.ReLU(inplace=True)

    def forward(self, values: Tensor) -> Tensor:
        values = self.relu(values * 1)
        return self.relu(self.inner(values) + values)


class Staged(nn.Module):
    """A stem, and a stage that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.stage = Stage()
        self.head = nn.Linear(4, 3)
        self.split = nn.LSTM(4, 4, batch_first=True)
        self.fixed = nn.Embedding(1, 4)

    def forward(self, images: Tensor) -> Tensor:
        values = self.stage(self.stage(self.stem(images)))
        tokens, _ = self.split(values.flatten(2).transpose(1, 2))
        return self.head(tokens.mean(1) + self.fixed.weight[0])


class Vit(Model):
    """A transformer with blocks that give tokens; the first token has no position in the image."""

    classes = CLASSES

    def build(self) -> nn.Module:
        return drawn(models.VisionTransformer(32, 8, 2, 2, 12, 24, num_classes=3), 0).double()

    def layers(self) -> tuple[str, ...]:
        return tuple(f"encoder.layers.encoder_layer_{index}" for index in range(2))

    def spatial(self, layer: str, values: Tensor) -> Tensor:
        return values[:, 1:].transpose(1, 2).unflatten(2, (4, 4))


def images(size: int = 32, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=rng)


def ready(network: nn.Module) -> nn.Module:
    return drawn(network, 0).double().eval()


NETWORKS = {
    "staged": lambda: ready(Staged()),
    "resnet18": lambda: ready(models.resnet18(num_classes=3)),
    "mobilenet": lambda: ready(models.mobilenet_v3_small(num_classes=3)),
    "vit": lambda: Vit().network,
    "swin": lambda: ready(
        models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], stochastic_depth_prob=0.1, num_classes=3)
    ),
    "timm vit": lambda: ready(
        timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=2, num_classes=3)
    ),
    "timm swin": lambda: ready(
        timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2),
            num_classes=3,
        )
    ),
}  # fmt: skip
NOT_CALLED = {"blocks"}
"""Modules that timm's transformer does not call when it is traced; it calls their children."""


def outputs_of(network: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """The output of every call of every module of the network, by the names of layers."""
    outputs: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def record(name: str, output: object) -> None:
        calls[name] = calls.get(name, 0) + 1
        if isinstance(output, Tensor):
            outputs[name if calls[name] == 1 else f"{name}__{calls[name]}"] = output.clone()

    handles = [
        module.register_forward_hook(lambda module, values, output, name=name: record(name, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_every_module_is_observed_as_it_gives_its_output(build, folded):
    """Convolutions are excluded, since their names stand for the end of the chain; so are modules that return them."""
    network = build()
    inputs = images()
    observing = view(network, ("logits",), inputs, {}, folded)
    assert isinstance(observing, View)
    chained = {"", *(observing.layers[name] for name in outline(network).convolutions)}
    expected = outputs_of(network, inputs)
    assert expected.keys() - observing.layers.keys() <= NOT_CALLED
    names = [name for name in expected if observing.layers.get(name, "") not in chained]
    assert names
    _, values = observing(inputs, {}, names)
    assert values.keys() == set(names)
    for name in names:
        scale = expected[name].abs().max().clamp_min(1e-300)
        assert float((values[name].detach() - expected[name]).abs().max() / scale) <= 1e-10, name


def test_a_name_is_the_modules_path_and_the_second_call_has_a_number():
    names = outline(NETWORKS["staged"]()).layers
    assert {
        "stem",
        "stage",
        "stage__2",
        "stage.inner",
        "stage.inner.1__2",
        "stage.relu",
        "stage.relu__4",
        "head",
    } <= names


def test_both_views_observe_the_same_layers():
    network = NETWORKS["resnet18"]()
    canonical, folded = (view(network, ("logits",), images(), {}, fold) for fold in (False, True))
    assert canonical.layers.keys() == folded.layers.keys() == outline(network).layers
    assert len(folded.merged) == 20
    assert layers_of(folded.module) == folded.layers


def test_a_merged_norm_is_its_convolution_before_the_activation():
    network = NETWORKS["resnet18"]()
    inputs = images()
    _, values = view(network, ("logits",), inputs, {}, True)(inputs, {}, ["conv1", "bn1", "relu"])
    torch.testing.assert_close(values["bn1"], network.bn1(network.conv1(inputs)), rtol=1e-10, atol=1e-12)
    assert torch.equal(values["conv1"], values["relu"])
    assert torch.equal(values["relu"], values["bn1"].relu())


class Named(Model):
    """ResNet18 with layers of many kinds."""

    classes = CLASSES

    def build(self) -> nn.Module:
        return NETWORKS["resnet18"]()

    def layers(self) -> tuple[str, ...]:
        return ("bn1", "relu", "maxpool", "layer1.0.conv1", "layer1", "layer4.1.bn2", "layer4", "fc", "nowhere")


@pytest.mark.parametrize(
    "layer", [pytest.param(name, marks=() if name == "layer1" else pytest.mark.slow) for name in Named().layers()[:-2]]
)
def test_grad_cam_of_any_layer_is_that_of_the_network_itself(layer):
    model = Named()
    inputs = images()
    explainer = GradCam(layer=layer)
    assert explainer.verdict(model).level == "exact"
    result = gradients(Batch(model, ["a", "b"], inputs, [0, 2], layers=[layer])).layers[layer]
    values: list[Tensor] = []

    def observe(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        values.append(output)
        return output.clone()  # since the network adds to it in place

    module = model.network.get_submodule("layer1.0.relu" if layer == "layer1.0.conv1" else layer)
    handle = module.register_forward_hook(observe)
    for other in model.network.modules():
        if isinstance(other, nn.ReLU):
            other.inplace = False
    scores = model.network(inputs.requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[0, 0] + scores[1, 2], values[0])
    torch.testing.assert_close(result.activation, values[0].detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.gradient, gradient, rtol=1e-9, atol=1e-14)
    heatmap = explainer(Batch(model, ["a", "b"], inputs.detach(), [0, 2], layers=[layer])).values
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * values[0]).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(heat, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(heatmap, expected.detach(), rtol=1e-8, atol=1e-14)


def test_a_module_that_gives_several_tensors_is_refused():
    network = NETWORKS["staged"]()
    with pytest.raises(ModelError, match="layer 'split' gives tuple; only a tensor of real numbers can be observed"):
        view(network, ("logits",), images(), {}, True)(images(), {}, ["split"])


def test_layers_that_hold_the_same_values_are_both_observed():
    model = Named()
    layers = gradients(Batch(model, ["a", "b"], images(), [0, 1], layers=["relu", "layer4", "bn1"])).layers
    assert layers.keys() == {"relu", "layer4", "bn1"}
    both = gradients(Batch(Chained(), ["a", "b"], images(), [0, 1], layers=["conv1", "relu"])).layers
    assert torch.equal(both["conv1"].gradient, both["relu"].gradient)


class Chained(Named):
    def layers(self) -> tuple[str, ...]:
        return ("conv1", "relu")


def test_tokens_become_a_grid_by_spatial():
    model = Vit()
    inputs = images()
    explanation = GradCam(layer="encoder.layers.encoder_layer_0")(
        Batch(model, ["a", "b"], inputs, [0, 1], layers=model.layers())
    )
    assert explanation.values.shape == (2, 1, 32, 32)
    assert explanation.values.any()
    observed = gradients(Batch(model, ["a", "b"], inputs, [0, 1], layers=model.layers())).layers
    tokens = outputs_of(model.network, inputs)["encoder.layers.encoder_layer_0"]
    layer = observed["encoder.layers.encoder_layer_0"]
    assert layer.activation.shape == layer.gradient.shape == (2, 12, 4, 4)
    torch.testing.assert_close(layer.activation[0, :, 1, 2], tokens[0, 1 + 1 * 4 + 2], rtol=1e-10, atol=1e-12)
    assert Gradient()(Batch(model, ["a", "b"], inputs, [0, 1])).values.any()


# layers that cannot be observed


def test_a_layer_that_does_not_exist_is_undefined():
    for kind in (GradCam(layer="nowhere"), GradCam(layer="last")):
        verdict = kind.verdict(Named())
        assert verdict.level == "undefined"
        assert "Named has no layer 'nowhere'" in verdict.reason
    assert "has no layer 'elsewhere'" in GradCam(layer="elsewhere").verdict(Named()).reason
    with pytest.raises(ModelError, match="has no module 'nowhere' whose output"):
        gradients(Batch(Named(), ["a", "b"], images(), [0, 1], layers=["nowhere"]))


class Branching(nn.Module):
    """A network that fx cannot trace: it branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)

    def forward(self, values: Tensor) -> Tensor:
        values = self.layer(values).mean((2, 3))
        return values if values.isfinite().all() else -values


class Untraceable(Named):
    def build(self) -> nn.Module:
        return Branching().double()

    def layers(self) -> tuple[str, ...]:
        return ("layer",)


def test_hooks_observe_the_layers_of_a_network_that_cannot_be_traced():
    model = Untraceable()
    assert model.outline.reason
    assert model.capabilities == {"gradients", "layers"}
    explainer = GradCam(layer="last")
    assert explainer.verdict(model).level == "exact"
    inputs = images()
    batch = Batch(model, ["a", "b"], inputs, [0, 2], layers=explainer.layers(model))
    values = model.network.layer(inputs)
    sign = model.network(inputs)[0, 0] / values.mean((2, 3))[0, 0]
    weights = torch.zeros(2, 3, 1, 1, dtype=values.dtype)
    weights[0, 0] = weights[1, 2] = sign.detach() / values[0, 0].numel()
    heat = (weights * values).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(heat, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(explainer(batch).values, expected.detach(), rtol=1e-8, atol=1e-14)
    assert not model.network.layer._forward_hooks


def test_the_last_layer_of_a_network_of_luminance():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert Model.of(network, CLASSES, Resize(size=32, channels="luminance")).last_layer == "0"


class Underlined(nn.Module):
    """Calls a module twice whose name has two underscores, and branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv__a = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        values = self.conv__a(self.conv__a(values).relu())
        return values.mean((2, 3)) if values.isfinite().all() else values.amax((2, 3))


def test_hooks_tell_the_calls_of_a_module_whose_name_looks_like_a_call():
    network = Underlined().double()
    model = Model.of(network, CLASSES)
    assert model.outline.reason
    assert model.last_layer == "conv__a__2"
    inputs = images()
    layers = gradients(Batch(model, ["a", "b"], inputs, [0, 1], layers=["conv__a", "conv__a__2"])).layers
    first = network.conv__a(inputs)
    torch.testing.assert_close(layers["conv__a"].activation, first.detach())
    torch.testing.assert_close(layers["conv__a__2"].activation, network.conv__a(first.relu()).detach())


def test_a_layer_without_spatial_axes_is_refused_with_a_reason():
    with pytest.raises(
        ModelError, match=r"'fc' of Named has shape \(2, 3\), which is no grid over 2 images of 32 × 32"
    ):
        gradients(Batch(Named(), ["a", "b"], images(), [0, 1], layers=["fc"]))


class Aside(nn.Module):
    """Two modules without a gradient: one gives integers, one does not depend on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Argmax()
        self.table = Table()
        self.head = nn.Linear(3, 3)

    def forward(self, values: Tensor) -> Tensor:
        counted = self.count(values).double().mean((1, 2))
        return self.head(values.mean((2, 3))) + counted[:, None] + self.table(values).mean((1, 2, 3))


class Argmax(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.argmax(1)


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.ones(1, 2, 4, 4))

    def forward(self, values: Tensor) -> Tensor:
        return self.values * 2


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("count", "layer 'count' gives torch.int64; only a tensor of real numbers can be observed"),
     ("table", "layer 'table' of Aside does not depend on the image")],
)  # fmt: skip
def test_a_layer_without_gradient_is_refused_with_a_reason(layer, reason):
    model = Model.of(ready(Aside()), CLASSES)
    with pytest.raises(ModelError, match=reason):
        gradients(Batch(model, ["a", "b"], images(), [0, 1], layers=[layer]))
