"""The methods of Van Craenendonck et al. 2020 on one image: by heatproof, and by a loop over the usual libraries.

Run it with ``python docs/benchmarks/grid.py [--networks vgg16 resnet50 inceptionv3] [--size 448] [--samples 50]``. For
each network with random, calibrated weights it computes the same maps both ways (gradient, image x gradient, guided
backpropagation, DeconvNet, integrated gradients, SmoothGrad, SmoothGrad-Squared, VarGrad, five LRP composites, Grad-CAM
of every convolution) and compares them by cosine. It prints seconds, the time that the necessary passes would take at
the best time of a single pass, and peak memory. Each side runs in a separate process; heatproof's has the memory
settings of ``heatproof run``. The libraries get the same noise, the same path, a network in which every activation is a
separate module (captum is wrong on InceptionV3 otherwise) and, for LRP, heatproof's folded graph (no canonizer of
Zennit is right on these networks).
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import captum.attr
import torch
import zennit.composites
from networks import NETWORKS, calibrated, random_images
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from zennit.attribution import Gradient as ZennitGradient

from heatproof.batch import Batch
from heatproof.executor import keep_freed_memory
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.network.canonical import canonical
from heatproof.network.modules import CONVOLUTIONS
from heatproof.network.views import View
from heatproof.passes import logits
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.input_x_gradient import InputXGradient
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp
from heatproof_lrp.relevance import relevance_network
from heatproof_smoothgrad.smoothgrad import SmoothGrad
from heatproof_smoothgrad.smoothgrad_squared import SmoothGradSquared
from heatproof_smoothgrad.vargrad import VarGrad

COMPOSITES = (
    "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat", "epsilon_alpha2_beta1_flat", "excitation_backprop",
)  # fmt: skip
SIGMA = 0.15
Maps = dict[str, Tensor]


@dataclass
class Result:
    """Maps by name, seconds by method, the rise of memory in bytes, and the seconds of the best single pass."""

    maps: Maps = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak: int = 0
    single: float = 0.0

    @contextmanager
    def clock(self, method: str) -> Iterator[None]:
        """Add the seconds of this block to those of one method."""
        start = time.perf_counter()
        yield
        self.seconds[method] = self.seconds.get(method, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def methods(model: Model, samples: int) -> dict[str, Explainer]:
    """The explainers of the grid by name: the method, followed by the setting that varies."""
    noisy = {"samples": samples, "sigma": SIGMA}
    return {
        "gradient": Gradient(), "input_x_gradient": InputXGradient(),
        **{f"gradcam {layer}": GradCam(layer=layer) for layer in model.layers()},
        "guided_backprop": GuidedBackprop(), "deconvnet": DeconvNet(),
        "integrated_gradients": IntegratedGradients(steps=samples), "smoothgrad": SmoothGrad(**noisy),
        "smoothgrad_squared": SmoothGradSquared(**noisy), "vargrad": VarGrad(**noisy),
        **{f"lrp {name}": Lrp(composite=name) for name in COMPOSITES},
    }  # fmt: skip


def by_heatproof(network: nn.Module, image: Tensor, samples: int, rows: int) -> Result:
    """The grid by heatproof: one batch, every explainer in turn."""
    model = Model.of(network, ["grade"])
    result = Result()
    explainers = methods(model, samples)
    requests = [request for explainer in explainers.values() for request in explainer.requests(model)]
    batch = Batch(model, ["a"], image, [0], layers=model.layers(), requests=requests, rows=rows)
    assert isinstance(batch.view, View)  # built, and compared with the network, before the clock starts
    logits(batch)
    with peak(result, image.device):
        for name, explainer in explainers.items():
            with result.clock(name.split()[0]):
                result.maps[name] = explainer(batch).values.detach()
    return result


def by_libraries(network: nn.Module, image: Tensor, samples: int) -> Result:
    """The grid by a loop over the libraries, each method separately."""
    result = Result()
    plain = canonical(network)
    noise = Batch(Model.of(network, ["grade"]), ["a"], image, [0])
    scale = SIGMA * (image.max() - image.min())
    noisy = [image + scale * noise.noise(draw) for draw in range(samples)]
    saliency = captum.attr.Saliency(plain)
    with peak(result, image.device):
        for name, explain in (
            ("gradient", lambda: saliency.attribute(image, target=0, abs=False)),
            ("input_x_gradient", lambda: captum.attr.InputXGradient(plain).attribute(image, target=0)),
            ("guided_backprop", lambda: captum.attr.GuidedBackprop(plain).attribute(image, target=0)),
            ("deconvnet", lambda: captum.attr.Deconvolution(plain).attribute(image, target=0)),
            ("integrated_gradients", lambda: _path(plain, image, samples)),
            ("smoothgrad", lambda: _moments(saliency, noisy)[0]),
            ("smoothgrad_squared", lambda: _moments(saliency, noisy)[1]),
            ("vargrad", lambda: _variance(*_moments(saliency, noisy))),
        ):
            with result.clock(name):
                result.maps[name] = explain().detach()
        _class_activation(result, plain, image)
        _relevance(result, network, image)
    return result


def _path(plain: nn.Module, image: Tensor, samples: int) -> Tensor:
    values: Tensor = captum.attr.IntegratedGradients(plain).attribute(
        image, torch.zeros_like(image), target=0, n_steps=samples, method="riemann_middle", internal_batch_size=1
    )
    return values


def _moments(saliency: Any, noisy: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The means of the gradients and of their squares."""
    mean = torch.zeros_like(noisy[0])
    squares = torch.zeros_like(noisy[0])
    for images in noisy:
        gradient = saliency.attribute(images, target=0, abs=False)
        mean = mean + gradient / len(noisy)
        squares = squares + gradient**2 / len(noisy)
    return mean, squares


def _variance(mean: Tensor, squares: Tensor) -> Tensor:
    return squares - mean**2


def _class_activation(result: Result, plain: Any, image: Tensor) -> None:
    """Grad-CAM of every convolution; the library scales each map to 0…1."""
    modules = dict(plain.named_modules())
    layers = View(plain, ("logits",)).layers
    nodes = {node.name: str(node.target) for node in plain.graph.nodes}
    for layer, node in layers.items():
        if not isinstance(modules.get(layer), CONVOLUTIONS):
            continue
        with result.clock("gradcam"), GradCAM(plain, [plain.get_submodule(nodes[node])]) as cam:
            heatmap = cam(image, [RawScoresOutputTarget()])
        result.maps[f"gradcam {layer}"] = torch.from_numpy(heatmap)[:, None]


def _relevance(result: Result, network: nn.Module, image: Tensor) -> None:
    """LRP by Zennit on heatproof's graph for LRP."""
    view = Batch(Model.of(network, ["grade"]), ["a"], image, [0]).view
    assert isinstance(view, View)
    graph = relevance_network(view.module)
    for name in COMPOSITES:
        with result.clock("lrp"), ZennitGradient(graph, zennit.composites.COMPOSITES[name]()) as attributor:
            result.maps[f"lrp {name}"] = attributor(image, torch.ones_like)[1].detach()


@contextmanager
def peak(result: Result, device: torch.device) -> Iterator[None]:
    """Measure how far memory rises above its start."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield
        result.peak = torch.cuda.max_memory_allocated(device) - before
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    yield
    result.peak = _status("VmHWM") - before


def _status(name: str) -> int:
    """A figure of this process in bytes, as Linux reports it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def best_pass(network: nn.Module, image: Tensor, rounds: int = 5) -> float:
    """The seconds of the fastest forward and backward by the image on the folded network."""
    batch = Batch(Model.of(network, ["grade"]), ["a"], image, [0])
    seconds = []
    for _ in range(rounds):
        images = image.clone().requires_grad_()
        start = time.perf_counter()
        torch.autograd.grad(batch.forward(images)[0].sum(), images)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def agreement(ours: Maps, theirs: Maps) -> dict[str, float]:
    """The least cosine of the maps of each method; Grad-CAM's maps start at 0, as the library's do."""
    cosines: dict[str, float] = {}
    for name, expected in theirs.items():
        actual = ours[name]
        if name.startswith("gradcam"):
            actual = actual - actual.amin()
        method = name.split()[0]
        zero = float(actual.abs().max()) == float(expected.abs().max()) == 0
        if not zero:
            cosines[method] = min(cosines.get(method, 1.0), cosine(actual, expected))
        cosines.setdefault(method, 1.0)
    return cosines


def cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of two maps; torch's own function treats small maps as zero."""
    unit_first, unit_second = (functional.normalize(maps.flatten().double(), dim=0, eps=0) for maps in (first, second))
    return float(unit_first @ unit_second)


def report(name: str, ours: Result, theirs: Result, floor: float) -> None:
    """Print one network's figures."""
    print(
        f"\n{name}: heatproof {ours.total:.1f} s, libraries {theirs.total:.1f} s: "
        f"{theirs.total / ours.total:.2f} x faster"
    )
    print(
        f"  necessary passes at the best single-pass time {floor:.1f} s: heatproof takes {ours.total / floor:.2f} of it"
    )
    less = ours.peak / theirs.peak
    print(f"  peak memory: heatproof {ours.peak / 1e6:.0f} MB, libraries {theirs.peak / 1e6:.0f} MB: {less:.2f} of it")
    cosines = agreement(ours.maps, theirs.maps)
    for method, value in cosines.items():
        print(
            f"  {method:22} heatproof {ours.seconds.get(method, 0):7.2f} s   libraries {theirs.seconds[method]:7.2f} s"
            f"   least cosine {value:.6f}"
        )


def one_side(arguments: argparse.Namespace, name: str) -> Result:
    """The result of one side for a network, in this process."""
    network = calibrated(name, arguments.size).to(arguments.device)
    image = random_images(1, arguments.size).to(arguments.device)
    if arguments.side == "libraries":
        return by_libraries(network, image, arguments.samples)
    keep_freed_memory()
    single = best_pass(network, image)
    result = by_heatproof(network, image, arguments.samples, arguments.rows)
    result.single = min(single, best_pass(network, image))
    return result


def in_its_own_process(side: str, name: str, folder: Path) -> Result:
    """The result of one side for a network, in a separate process with the same settings."""
    words = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--side", side, "--into", str(folder)]
    subprocess.run([*words, "--networks", name], check=True)
    figures = json.loads((folder / f"{side}.json").read_text())
    return Result(load_file(folder / f"{side}.safetensors"), **figures)


def hand_over(result: Result, side: str, folder: Path) -> None:
    """Write the result for the process that started this one."""
    save_file({name: maps.cpu().contiguous() for name, maps in result.maps.items()}, folder / f"{side}.safetensors")
    figures = {"seconds": result.seconds, "peak": result.peak, "single": result.single}
    (folder / f"{side}.json").write_text(json.dumps(figures))


def main() -> None:
    """Time the grid on each network and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", choices=("heatproof", "libraries"))
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        hand_over(one_side(arguments, *arguments.networks), arguments.side, arguments.into)
        return
    sums = [0.0, 0.0, 0.0]
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = (in_its_own_process(side, name, Path(folder)) for side in ("heatproof", "libraries"))
        floor = ours.single * (2 * arguments.samples + 3) + ours.seconds["lrp"]
        report(name, ours, theirs, floor)
        sums = [total + seconds for total, seconds in zip(sums, (ours.total, theirs.total, floor))]
    ratios = f"{sums[1] / sums[0]:.2f} x faster; {sums[0] / sums[2]:.2f} of the necessary passes' time"
    print(f"\nall: heatproof {sums[0]:.1f} s, libraries {sums[1]:.1f} s: {ratios}")


if __name__ == "__main__":
    main()
