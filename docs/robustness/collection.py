"""Runs explainers on networks that people bring, with random weights: ``python docs/robustness/collection.py --write``.

Each network is run by gradient, integrated gradients, occlusion and Grad-CAM at its last layer. The gradient is
compared with that of the network itself in float64, and Grad-CAM with hooks on the network's module. The program prints
a table; ``--write`` puts it into ``docs/networks.md``. It returns 1 if a map is wrong, or if a method fails that did
not say so before the run.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import peculiar_networks as peculiar
import torch
from peculiar_networks import CLASSES
from plain_heatmaps import corner, gap_of, grad_cam, gradient, rectified_gradient, scores
from torch import Tensor, nn
from torch.nn import functional

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
    outputs: tuple[str, ...] = ("logits",)


def library(module: str, name: str, *arguments: Any, **settings: Any) -> Callable[[], nn.Module]:
    """A network that a function or class of a library builds; the library is imported then."""
    return lambda: getattr(import_module(module), name)(*arguments, **settings)


def torchvision(name: str, **settings: Any) -> Callable[[], nn.Module]:
    """A network of torchvision with random weights."""
    return library("torchvision.models", name, num_classes=len(CLASSES), **settings)


def timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    """A network of timm with random weights."""
    return library("timm", "create_model", name, num_classes=len(CLASSES), **settings)


def unet(encoder: str) -> Callable[[], nn.Module]:
    """A U-Net of segmentation-models-pytorch with a class output."""
    head = {"classes": len(CLASSES)}
    return library("segmentation_models_pytorch", "Unet", encoder, encoder_weights=None, aux_params=head)


def monai(name: str, dimensions: int, **settings: Any) -> Callable[[], nn.Module]:
    """A network of MONAI with random weights."""
    return library("monai.networks.nets", name, spatial_dims=dimensions, **settings)


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
    "torchvision vit_b_16": Entry(torchvision("vit_b_16", image_size=64)),
    "timm seresnet50": Entry(timm("seresnet50")),
    "timm mobilenetv4_conv_small": Entry(timm("mobilenetv4_conv_small")),
    "timm ghostnet_100": Entry(timm("ghostnet_100")),
    "timm nfnet_l0": Entry(timm("nfnet_l0")),
    "timm tf_efficientnet_b0": Entry(timm("tf_efficientnet_b0")),
    "timm mobilevit_xxs": Entry(timm("mobilevit_xxs")),
    "timm hrnet_w18_small": Entry(timm("hrnet_w18_small")),
    "timm vgg11": Entry(timm("vgg11"), (3, 224, 224)),
    "timm swin_tiny": Entry(timm("swin_tiny_patch4_window7_224"), (3, 224, 224)),
    "timm vit_tiny_patch16": Entry(timm("vit_tiny_patch16_224", img_size=64)),
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
    "shared modules": Entry(peculiar.SharedModules),
    "in place": Entry(peculiar.InPlace),
    "in place, read again": Entry(peculiar.Overwritten),
    "outputs in a dictionary": Entry(peculiar.Dictionary, outputs=("logits", "features")),
    "flattened by view": Entry(peculiar.Flattening),
    "an optional input": Entry(peculiar.OptionalInput),
    "control flow": Entry(peculiar.ControlFlow),
    "an assertion of the type": Entry(peculiar.Asserting),
    "scripted": Entry(peculiar.scripted),
    "recorded by torch.jit.trace": Entry(peculiar.recorded),
    "DataParallel": Entry(lambda: nn.DataParallel(peculiar.Small())),
    "2.5-D": Entry(peculiar.Slices, (3, 4, 16, 16), layer="last"),
    "Conv3d on pictures": Entry(peculiar.Volumetric, (3, 32, 32), layer="last"),
    "squeeze and excitation at the end": Entry(peculiar.Gated),
    "GroupNorm": Entry(peculiar.GroupNormed),
}  # fmt: skip


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
    model.size = entry.shape[1:]
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
