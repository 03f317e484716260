"""Measures how far maps depend on the number of images per pass: ``python docs/robustness/precision.py``.

torch computes a convolution of four images by another kernel, or in another order, than that of one image, so the last
bits of activations differ. An activation near zero can then fall on the other side of a rectifier or of the maximum of
a pooling: its whole gradient appears in one map and is missing in the other. The program explains four phantom eyes
together and one by one, with LesionNet and an untrained ResNet18 of torchvision, in float32 and in float64. For each
method it prints the largest difference of a pixel as a share of the largest value of that map. If a method depended on
the other images of its batch in any other way, the difference would be as large in float64.

It also counts these gates, rectifiers and maxima, that differ in the noisy copies of SmoothGrad. It returns 1 if a
difference in float64 exceeds 1e-8.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from heatproof.batch import Batch, fields
from heatproof.config.components import create
from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.imaging.transforms import Resize
from heatproof.model import Model, Precision
from heatproof.records import Sample
from heatproof.registry.catalog import Catalog, default
from heatproof_lesionnet.lesionnet import LesionNet
from heatproof_phantom.phantom import Phantom

METHODS = (
    "gradient", "input_x_gradient", "integrated_gradients", "deeplift", "guided_backprop", "deconvnet", "lrp",
    "smoothgrad", "smoothgrad_squared", "vargrad", "gradcam", "gradcam_plus_plus", "guided_gradcam", "respond_cam",
    "xgradcam", "hirescam", "layercam", "eigencam", "scorecam", "ablationcam", "gradient_shap", "occlusion", "lime",
    "kernel_shap", "rise",
)  # fmt: skip
PRECISIONS: tuple[Precision, ...] = ("float32", "float64")
TOGETHER = 4
DRAWS = 25
SIGMA = 0.15
"""The copies of SmoothGrad and the standard deviation of their noise, as a share of the range of the image."""
BOUND = 1e-8


def models() -> dict[str, Model]:
    """A trained and an untrained network by name."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet18(num_classes=5)
    return {"lesionnet": LesionNet(), "resnet18": Model.of(network, LesionNet.classes, Resize(size=112))}


def samples(model: Model, count: int = TOGETHER) -> list[Sample]:
    """Prepared phantom eyes."""
    phantom = Phantom(patients=10, height=356)
    return [model.prepare(phantom.load(id)) for id in phantom.ids()[:count]]


def batch(model: Model, explainer: Explainer, eyes: Sequence[Sample]) -> Batch:
    """The eyes as one batch and one pass."""
    images = torch.stack([torch.from_numpy(eye.image) for eye in eyes]).to(model.dtype)
    return Batch(
        model, [eye.id for eye in eyes], images, [0] * len(eyes), field=fields(eyes), layers=explainer.layers(model),
        requests=explainer.requests(model), rows=len(eyes),
    )  # fmt: skip


def difference(model: Model, explainer: Explainer, eyes: Sequence[Sample]) -> float:
    """The largest difference between maps explained together and alone, as a share of the map's largest value."""
    together = explainer(batch(model, explainer, eyes)).values
    alone = torch.cat([explainer(batch(model, explainer, [eye])).values for eye in eyes])
    largest = alone.flatten(1).abs().amax(1)
    return float(((together - alone).flatten(1).abs().amax(1) / largest).max())


def gates(view: Any, images: Tensor) -> list[Tensor]:
    """What each rectifier of a view lets pass, and which pixel each maximum pooling chooses (n, …)."""
    choices: list[Tensor] = []

    def record(module: Any, inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.ReLU):
            choices.append(output > 0)
        else:
            settings = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode, True)
            pool: Any = nn.functional.max_pool2d
            choices.append(pool(*inputs, *settings)[1])

    modules = [module for module in view.module.modules() if isinstance(module, nn.ReLU | nn.MaxPool2d)]
    hooks = [module.register_forward_hook(record) for module in modules]
    view(images.requires_grad_(), {})  # torch may choose other kernels without autograd
    for hook in hooks:
        hook.remove()
    return choices


def flipped(model: Model, eyes: Sequence[Sample]) -> tuple[int, int]:
    """The gates in SmoothGrad's copies that differ between a pass of all eyes and passes of one, and all gates."""
    images = torch.stack([torch.from_numpy(eye.image) for eye in eyes]).to(model.dtype)
    plain = Batch(model, [eye.id for eye in eyes], images, [0] * len(eyes))
    scale = SIGMA * (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).reshape(-1, 1, 1, 1)
    count = total = 0
    for draw in range(DRAWS):
        noisy = images + scale * plain.noise(draw)
        together = gates(plain.view, noisy.clone())
        alone = zip(*(gates(plain.view, noisy[row : row + 1].clone()) for row in range(len(eyes))))
        count += sum(int((both != torch.cat(singles)).sum()) for both, singles in zip(together, alone))
        total += sum(map(Tensor.numel, together))
    return count, total


def measured(catalog: Catalog, model: Model, method: str, eyes: Sequence[Sample]) -> float:
    """The difference of a method with its default settings, NaN where it is undefined on the model."""
    explainer: Any = create(catalog, "explainer", method, {})
    try:
        return difference(model, next(iter(explainer.expand(model))), eyes)
    except HeatproofError as error:
        print(f"{method}: {error}", file=sys.stderr)
        return float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per network and method; return 1 if a difference in float64 is no rounding error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS, help="the explainers to measure")
    parser.add_argument("--networks", nargs="+", default=list(models()), help="the networks to explain")
    parser.add_argument("--threads", type=int, help="torch's threads, as set if left out")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    worst = 0.0
    for name in options.networks:
        precise = [models()[name].in_precision(precision) for precision in PRECISIONS]
        eyes = samples(precise[0])
        counts = [flipped(model, eyes) for model in precise]
        for precision, (count, total) in zip(PRECISIONS, counts):
            print(f"{name}: {count} of {total} gates differ in {precision}", flush=True)
        for method in options.methods:
            values = [measured(default(), model, method, eyes) for model in precise]
            print(f"{name:10} {method:22}", *(f"{value:9.1e}" for value in values), flush=True)
            worst = max(worst, 0.0 if values[1] != values[1] else values[1])
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
