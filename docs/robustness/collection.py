"""Runs explainers on networks that people bring, with random weights: ``python docs/robustness/collection.py --write``.

Each network is run by gradient, integrated gradients, occlusion and Grad-CAM at its last layer. The gradient is
compared with that of the network itself in float64, and Grad-CAM with hooks on the network's module. The program prints
a table; ``--write`` puts it into ``docs/networks.md``. It returns 1 if a map is wrong, or if a method fails that did
not say so before the run.
"""

import argparse
import functools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.network.modules import CONVOLUTIONS
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.deeplift import DeepLift
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp
from heatproof_perturbation.occlusion import Occlusion

PAGE = Path(__file__).resolve().parents[1] / "networks.md"
CLASSES = ("a", "b", "c")
COLUMNS = (
    "network", "runs", "last layer", "gradient", "integrated gradients", "occlusion", "Grad-CAM", "exact by its rules",
)  # fmt: skip
FORMS = {"": "folded", "runs in contiguous": "contiguous", "runs with BatchNorm": "unmerged"}
TOLERANCE = 1e-8
HEAD = "<!-- written by docs/robustness/collection.py -->\n"


@dataclass(frozen=True)
class Entry:
    """A network: how it is built, the shape of its images without the batch, and a layer where it has no last one."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 64, 64)
    layer: str = "last"
    outputs: tuple[str, ...] = field(default=("logits",))


def torchvision(name: str, **settings: Any) -> Callable[[], nn.Module]:
    """A network of torchvision with random weights."""

    def build() -> nn.Module:
        from torchvision import models

        network: nn.Module = getattr(models, name)(num_classes=len(CLASSES), **settings)
        return network

    return build


def timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    """A network of timm with random weights."""

    def build() -> nn.Module:
        from timm import create_model

        network: nn.Module = create_model(name, pretrained=False, num_classes=len(CLASSES), **settings)
        return network

    return build


def unet(encoder: str) -> Callable[[], nn.Module]:
    """A U-Net of segmentation-models-pytorch with a class output."""

    def build() -> nn.Module:
        import segmentation_models_pytorch as smp

        network: nn.Module = smp.Unet(encoder, encoder_weights=None, aux_params={"classes": len(CLASSES)})
        return network

    return build


def monai(name: str, dimensions: int, **settings: Any) -> Callable[[], nn.Module]:
    """A network of MONAI with random weights."""

    def build() -> nn.Module:
        from monai.networks import nets

        network: nn.Module = getattr(nets, name)(spatial_dims=dimensions, **settings)
        return network

    return build


class Small(nn.Module):
    """Two convolutions with BatchNorm and ReLU, a mean and a linear layer; the base of the networks below."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.head = nn.Linear(12, len(CLASSES))

    def features(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → features (n, 12, h / 2, w / 2)."""
        features: Tensor = self.second(self.norm(self.first(images)).relu()).relu()
        return features

    def forward(self, images: Tensor) -> Any:
        """Images (n, 3, h, w) → logits (n, 3)."""
        return self.head(self.features(images).mean((2, 3)))


class SharedModules(Small):
    """One ReLU and one convolution are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.third = nn.Conv2d(12, 12, 3, padding=1)

    def features(self, images: Tensor) -> Tensor:
        """The features after the second call of the same convolution."""
        values = self.relu(self.second(self.relu(self.norm(self.first(images)))))
        features: Tensor = self.relu(self.third(self.relu(self.third(values))))
        return features


class InPlace(Small):
    """Additions and a ReLU in place, of values that are read again."""

    def features(self, images: Tensor) -> Tensor:
        """The features, with a sum that overwrites what it adds to."""
        values = self.second(self.norm(self.first(images)).relu_())
        values += self.second(self.norm(self.first(images)))
        return functional.relu(values, inplace=True)


class Overwritten(Small):
    """A ReLU in place whose input is read afterwards, so that a copy out of place gives other values."""

    def features(self, images: Tensor) -> Tensor:
        """The features: twice the rectified values, since the ReLU overwrites its input."""
        values = self.second(self.norm(self.first(images)))
        rectified = values.relu_()
        features: Tensor = rectified + values
        return features


class Dictionary(Small):
    """Returns a dictionary of outputs."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits and features by name."""
        features = self.features(images)
        return {"logits": self.head(features.mean((2, 3))), "features": features}


class Flattening(Small):
    """Flattens its features by ``view``, which fails on channels_last memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12 * 32 * 32, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all features."""
        values = self.features(images)
        logits: Tensor = self.head(values.view(values.size(0), -1))
        return logits


class OptionalInput(Small):
    """Takes a mask, which a run does not give."""

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of the features, inside the mask if there is one."""
        values = self.features(images)
        if mask is not None:
            values = values * mask
        logits: Tensor = self.head(values.mean((2, 3)))
        return logits


class ControlFlow(Small):
    """Branches on values, which no tracer follows."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, after a check of the images."""
        if not torch.isfinite(images).all():
            raise ValueError("images must be finite")
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Asserting(Small):
    """Asserts the type of its input."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        assert isinstance(images, Tensor)
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Slices(nn.Module):
    """A 2.5-D network: the slices of a volume are the images of a 2-D network, whose outputs are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = Small()

    def forward(self, volumes: Tensor) -> Tensor:
        """Volumes (n, 3, d, h, w) → logits (n, 3)."""
        n, c, d, h, w = volumes.shape
        logits: Tensor = self.slices(volumes.transpose(1, 2).reshape(n * d, c, h, w)).view(n, d, -1).mean(1)
        return logits


class Volumetric(nn.Module):
    """Convolutions of volumes on a picture, whose channels are the slices."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 6, 3, padding=1)
        self.second = nn.Conv3d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → logits (n, 3)."""
        values = self.second(self.first(images[:, None]).relu()).relu()
        logits: Tensor = self.head(values.mean((2, 3, 4)))
        return logits


class Gated(Small):
    """Ends in squeeze and excitation, whose gate is the convolution evaluated last."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(12, 12, 1)

    def features(self, images: Tensor) -> Tensor:
        """The features times their gate."""
        values = super().features(images)
        return values * torch.sigmoid(self.gate(values.mean((2, 3), keepdim=True)))


class GroupNormed(Small):
    """GroupNorm in place of BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)  # type: ignore[assignment]


def scripted() -> nn.Module:
    """A network compiled by ``torch.jit.script``."""
    network: nn.Module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                                                        nn.Flatten(), nn.Linear(8, len(CLASSES))).eval())  # fmt: skip
    return network


def recorded() -> nn.Module:
    """A network recorded by ``torch.jit.trace``."""
    network: nn.Module = torch.jit.trace(Small().eval(), torch.zeros(1, 3, 64, 64))  # type: ignore[no-untyped-call]
    return network


COLLECTION: dict[str, Entry] = {
    "torchvision alexnet": Entry(torchvision("alexnet"), (3, 127, 127)),
    "torchvision vgg11_bn": Entry(torchvision("vgg11_bn")),
    "torchvision resnet18": Entry(torchvision("resnet18")),
    "torchvision resnext50_32x4d": Entry(torchvision("resnext50_32x4d")),
    "torchvision regnet_y_400mf": Entry(torchvision("regnet_y_400mf")),
    "torchvision densenet121": Entry(torchvision("densenet121")),
    "torchvision googlenet with aux": Entry(torchvision("googlenet", init_weights=False, aux_logits=True)),
    "torchvision inception_v3": Entry(torchvision("inception_v3", init_weights=False), (3, 107, 107)),
    "torchvision mobilenet_v3_small": Entry(torchvision("mobilenet_v3_small")),
    "torchvision efficientnet_b0": Entry(torchvision("efficientnet_b0")),
    "torchvision shufflenet_v2_x0_5": Entry(torchvision("shufflenet_v2_x0_5")),
    "torchvision squeezenet1_1": Entry(torchvision("squeezenet1_1")),
    "torchvision mnasnet0_5": Entry(torchvision("mnasnet0_5")),
    "torchvision convnext_tiny": Entry(torchvision("convnext_tiny")),
    "torchvision swin_t": Entry(torchvision("swin_t")),
    "torchvision vit_b_16": Entry(torchvision("vit_b_16", image_size=64), layer="encoder.layers.encoder_layer_11.ln_1"),
    "timm seresnet50": Entry(timm("seresnet50")),
    "timm mobilenetv4_conv_small": Entry(timm("mobilenetv4_conv_small")),
    "timm ghostnet_100": Entry(timm("ghostnet_100")),
    "timm nfnet_l0": Entry(timm("nfnet_l0")),
    "timm tf_efficientnet_b0": Entry(timm("tf_efficientnet_b0")),
    "timm mobilevit_xxs": Entry(timm("mobilevit_xxs")),
    "timm hrnet_w18_small": Entry(timm("hrnet_w18_small")),
    "timm vgg11": Entry(timm("vgg11"), (3, 224, 224)),
    "timm swin_tiny": Entry(timm("swin_tiny_patch4_window7_224"), (3, 224, 224)),
    "timm vit_tiny_patch16": Entry(timm("vit_tiny_patch16_224", img_size=64), layer="blocks.11.norm1"),
    "U-Net with resnet18": Entry(unet("resnet18"), outputs=("mask", "logits")),
    "U-Net with efficientnet-b0": Entry(unet("efficientnet-b0"), outputs=("mask", "logits")),
    "MONAI DenseNet121, pictures": Entry(monai("DenseNet121", 2, in_channels=3, out_channels=len(CLASSES))),
    "MONAI DenseNet121, volumes": Entry(
        monai("DenseNet121", 3, in_channels=1, out_channels=len(CLASSES)), (1, 32, 32, 32)
    ),
    "MONAI ResNet10, pictures": Entry(monai("resnet10", 2, n_input_channels=3, num_classes=len(CLASSES))),
    "MONAI ResNet10, volumes": Entry(
        monai("resnet10", 3, n_input_channels=1, num_classes=len(CLASSES)), (1, 32, 32, 32)
    ),
    "shared modules": Entry(SharedModules),
    "in place": Entry(InPlace),
    "in place, read again": Entry(Overwritten),
    "outputs in a dictionary": Entry(Dictionary, outputs=("logits", "features")),
    "flattened by view": Entry(Flattening),
    "an optional input": Entry(OptionalInput),
    "control flow": Entry(ControlFlow),
    "an assertion of the type": Entry(Asserting),
    "scripted": Entry(scripted),
    "recorded by torch.jit.trace": Entry(recorded),
    "DataParallel": Entry(lambda: nn.DataParallel(Small())),
    "2.5-D": Entry(Slices, (3, 4, 16, 16), layer="last"),
    "Conv3d on pictures": Entry(Volumetric, (3, 32, 32), layer="last"),
    "squeeze and excitation at the end": Entry(Gated),
    "GroupNorm": Entry(GroupNormed),
}  # fmt: skip


class Case(Model):
    """A network of the collection in float64, which takes images of one size."""

    classes = CLASSES


def model_of(entry: Entry) -> Model:
    """The model of an entry, with norms that have the statistics of random images."""
    torch.manual_seed(0)
    network = entry.build().double()
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():  # a head that starts at zero gives no gradient
            nn.init.normal_(parameter, std=0.1)
    if not isinstance(network, torch.jit.ScriptModule):
        norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = None
        network.eval()
        for norm in norms:
            norm.train()
        with torch.no_grad():
            network(images_of(entry, 4))
    model = Model.of(network.eval(), CLASSES, outputs=entry.outputs)
    model.__dict__["size"] = entry.shape[1:]
    return model


def images_of(entry: Entry, count: int = 2) -> Tensor:
    """Random images in float64."""
    return torch.randn(count, *entry.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def row(name: str) -> list[str]:
    """The row of the table: how a network runs, its last layer, and the outcome of each method."""
    entry = COLLECTION[name]
    model = model_of(entry)
    images = images_of(entry)
    view = model.view(images, {})
    runs = next((form for start, form in FORMS.items() if start and view.notice.startswith(start)), "folded")
    runs = "as it is" if view.reason else runs
    side = min(entry.shape[1:]) // 2
    methods: tuple[Explainer, ...] = (
        Gradient(), IntegratedGradients(steps=2), Occlusion(patch=side, stride=side), GradCam(layer=entry.layer),
    )  # fmt: skip
    last = f"`{model.outline.last}`" if model.outline.last else "none"
    return [name, runs, last, *(outcome(method, model, images) for method in methods), exact(model, images)]


def exact(model: Model, images: Tensor) -> str:
    """The methods with rules of their own whose verdict is exact; ``WRONG`` behind one whose map is not right."""
    references: dict[Explainer, Callable[[Model, Tensor], Tensor]] = {
        GuidedBackprop(): partial(rectified_gradient, guided=True),
        DeconvNet(): partial(rectified_gradient, guided=False),
        Lrp(preset="z", start="score"): lambda model, images: images * gradient(model, images),
        DeepLift(): lambda model, images: scores(model, images) - scores(model, torch.zeros_like(images)),
    }
    names = []
    for method, reference in references.items():
        if method.verdict(model).level != "exact":
            continue
        values = method(Batch(model, ["a", "b"], images, [0, 2])).values
        if isinstance(method, DeepLift):
            values = values.flatten(1).sum(1)
        expected = reference(model, images).detach()
        gap = gap_of(values, expected)
        limit = TOLERANCE
        if isinstance(method, Lrp):  # its epsilon acts where a sum almost cancels, so single pixels may differ by more
            gap = 1 - float(functional.cosine_similarity(values.flatten(), expected.flatten(), 0))
            limit = 1e-4
        names.append(method.short if gap <= limit else f"{method.short} WRONG (by {gap:.0e})")
    return ", ".join(names) or "none"


def outcome(method: Explainer, model: Model, images: Tensor) -> str:
    """How a method runs on a network: right, undefined before the run, or what is wrong."""
    if method.verdict(model).level == "undefined":
        return "undefined"
    layers = method.layers(model)
    batch = Batch(model, ["a", "b"], images, [0, 2], layers=layers)
    try:
        values = method(batch).values
    except HeatproofError as error:
        return f"FAILED ({error})"
    if not bool(values.isfinite().all()) or not bool((values != 0).any()):
        return "WRONG (not finite, or zero)"
    gap = difference(method, model, images, values)
    if gap > TOLERANCE:
        return f"WRONG (by {gap:.0e})"
    return f"right at `{layers[0]}`" if layers and layers[0] != model.outline.last else "right"


def difference(method: Explainer, model: Model, images: Tensor, values: Tensor) -> float:
    """The largest difference from what the network itself gives, relative to the largest value; 0 if unknown."""
    network = model.network
    if isinstance(method, Gradient):
        return gap_of(values, gradient(model, images))
    if isinstance(method, Occlusion):
        side = min(images.shape[2:]) // 2
        covered = images.clone()
        covered.flatten(2)[..., corner(images, side)] = 0
        with torch.no_grad():
            fall = scores(model, images) - scores(model, covered)
        return gap_of(values.flatten(1)[:, 0], fall)
    if isinstance(method, GradCam):
        module = dict(network.named_modules()).get(method.layers(model)[0])
        if module is not None and not isinstance(module, CONVOLUTIONS):
            return gap_of(values, grad_cam(model, module, images))
    return 0.0


def scores(model: Model, images: Tensor) -> Tensor:
    """The scores of the first class for the first image and of the third for the second, from the network itself."""
    logits = model.forward(images.clone())["logits"]
    return torch.stack([logits[0, 0], logits[1, 2]])


def corner(images: Tensor, side: int) -> Tensor:
    """The positions of the first patch among the pixels, counted in rows."""
    axes = [torch.arange(size) < side for size in images.shape[2:]]
    inside = functools.reduce(lambda first, second: first[..., None] & second, axes)
    return inside.flatten().nonzero()[:, 0]


def gradient(model: Model, images: Tensor) -> Tensor:
    """The gradient of the scores by the images, from the network itself."""
    leaf = images.clone().requires_grad_()
    (result,) = torch.autograd.grad(scores(model, leaf).sum(), leaf)
    return result


class Rectified(torch.autograd.Function):
    """ReLU whose backward pass is that of guided backpropagation, or of DeconvNet."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, guided: bool) -> Tensor:
        """The positive part."""
        ctx.guided = guided
        ctx.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """The positive part of the gradient, for guided backpropagation where the value is positive."""
        (values,) = ctx.saved_tensors
        positive = slope.clamp(min=0)
        return positive * (values > 0) if ctx.guided else positive, None


class Rectifying(TorchFunctionMode):
    """Replaces every call of torch's ReLU while it is entered."""

    def __init__(self, guided: bool):
        super().__init__()
        self.guided = guided

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of a function of torch."""
        if getattr(func, "__name__", "") in ("relu", "relu_"):
            return Rectified.apply(args[0], self.guided)
        return func(*args, **(kwargs or {}))


def rectified_gradient(model: Model, images: Tensor, guided: bool) -> Tensor:
    """The gradient of the network itself with another backward pass of every ReLU that it calls."""
    leaf = images.clone().requires_grad_()
    with Rectifying(guided):
        total = scores(model, leaf).sum()
    (result,) = torch.autograd.grad(total, leaf)
    return result


def grad_cam(model: Model, module: nn.Module, images: Tensor) -> Tensor:
    """Grad-CAM at a module of the network itself, by a hook; tokens and channels-last values become a grid."""
    outputs: list[Tensor] = []

    def observe(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # a later layer may work in place

    handle = module.register_forward_hook(observe)
    total = scores(model, images.clone().requires_grad_()).sum()
    handle.remove()
    (slope,) = torch.autograd.grad(total, outputs[-1])
    activation, slope = (_on_grid(values.detach()) for values in (outputs[-1], slope))
    weights = slope.mean(tuple(range(2, slope.ndim)), keepdim=True)
    heat = (weights * activation).sum(1, keepdim=True).relu()
    mode = "trilinear" if images.ndim == 5 else "bilinear"
    return functional.interpolate(heat, size=images.shape[2:], mode=mode, align_corners=False)


def _on_grid(values: Tensor) -> Tensor:
    """Values (n, channel, *space), from tokens in a square behind that of the class, or from channels at the end."""
    if values.ndim == 3:
        side = math.isqrt(values.shape[1])
        return values[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-any-return, no-untyped-call]
    if values.ndim == 4 and values.shape[1] == values.shape[2] != values.shape[3]:
        return values.permute(0, 3, 1, 2)
    return values


def gap_of(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest expected value."""
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def table(rows: Iterable[Sequence[str]]) -> str:
    """The rows as a table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into the page; returns 1 if a method is wrong or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/networks.md")
    options = parser.parse_args(arguments)
    rows = []
    for name in COLLECTION:
        rows.append(row(name))
        print(*rows[-1], sep=" | ", flush=True)
    if options.write:
        before, _, _ = PAGE.read_text(encoding="utf-8").partition(HEAD)
        PAGE.write_text(before + HEAD + table(rows), encoding="utf-8")
    return int(any(("WRONG" in cell or "FAILED" in cell) for cells in rows for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
