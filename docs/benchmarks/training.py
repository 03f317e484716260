"""The time and the memory of a training step with heatmaps in the loss, against a plain step; and the wait for data.

Run it with ``python docs/benchmarks/training.py [--batch 8] [--device cuda]``. The network is a U-Net with an
EfficientNet-b0 encoder, of SiLU, as in Watanabe et al. 2022, or with a ResNet-18 encoder, of ReLU; images are random
and synthetic, of 224 × 224. A step is the forward pass, the loss and its backward pass. Times are medians of steps in
turns, in seconds of the processor (on a GPU, of the clock). The peak of each objective is that of a process of its own,
above what the process had before its first step; on a GPU it is the allocated memory. The aim is a step of at most 3.2
times the plain one.

Then it trains lesionnet, a small network with large images, on 120 synthetic fundus photographs of 448 × 448 with every
augmentation, with one thread and with two (``--loading`` does only this). It prints the share of the second and third
epoch, in which all samples come from the cache, that the loop waits for a batch. The aim is at most 5 %.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch

from heatproof.batch import Batch
from heatproof.config.entries import DatasetEntry
from heatproof.executor import keep_freed_memory
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.records import Annotation, Sample
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_heatmap_objectives.heatmap_segmentation import HeatmapSegmentation
from heatproof_heatmap_objectives.segmentation import Segmentation
from heatproof_lesionnet.lesionnet import LesionNet
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step
from heatproof_phantom.phantom import Phantom
from heatproof_training.augmentation import AugmentationSettings
from heatproof_training.ordinal import Ordinal
from heatproof_training.progress import Observer
from heatproof_training.settings import SplitSettings, TrainingConfig
from heatproof_training.training import train

SIZE = 224
ENCODERS = ("efficientnet-b0", "resnet18")
PLAIN = "plain"
OBJECTIVES: Mapping[str, Callable[[], Objective]] = {
    PLAIN: Segmentation,
    "set 1, guided backpropagation": lambda: HeatmapSegmentation(generator=GuidedBackprop(), set=1),
    "set 1, DeconvNet": lambda: HeatmapSegmentation(generator=DeconvNet(), set=1),
    "set 2, guided backpropagation": lambda: HeatmapSegmentation(generator=GuidedBackprop(), set=2),
    "set 3, guided backpropagation": lambda: HeatmapSegmentation(generator=GuidedBackprop(), set=3),
}


class Bench:
    """A network, a batch of synthetic samples and the steps of each objective."""

    def __init__(self, encoder: str, count: int, device: torch.device):
        head = {"classes": 3, "dropout": 0.5}
        torch.manual_seed(0)
        network = smp.Unet(encoder, encoder_weights=None, aux_params=head)
        self.model = Model.of(network.to(device), "abc", Resize(size=SIZE), outputs=("mask", "logits"))
        rng = np.random.default_rng(0)
        gaze = rng.random((count, SIZE, SIZE), np.float32)
        images = rng.standard_normal((count, 3, SIZE, SIZE), np.float32)
        self.samples = [
            Sample(f"sample{index}", image, (Annotation("gaze", density, "density"),), index % 3)
            for index, (image, density) in enumerate(zip(images, gaze))
        ]
        self.images = torch.from_numpy(images).to(device)

    def step(self, objective: Objective) -> float:
        """Make one step and return its seconds."""
        model = self.model
        model.network.train()
        model.network.zero_grad()
        start = self._now()
        labels = [int(str(sample.label)) for sample in self.samples]
        batch = Batch(model, [sample.id for sample in self.samples], self.images, labels, differentiable=True)
        outputs = model.forward(self.images)
        objective.losses(Step(batch, outputs, self.samples, True))["loss"].backward()  # type: ignore[no-untyped-call]
        return self._now() - start

    def _now(self) -> float:
        if not self.images.is_cuda:
            return time.process_time()  # other work on the machine does not count
        torch.cuda.synchronize()
        return time.perf_counter()

    def peak(self, objective: Objective) -> int:
        """The largest number of bytes that preparation and steps take above what the process has before them."""
        if self.images.is_cuda:
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        else:
            before = _of_process("VmRSS")
        objective.require(self.model)
        self.step(objective)
        self.step(objective)
        if self.images.is_cuda:
            return torch.cuda.max_memory_allocated() - before
        return _of_process("VmHWM") - before


def _of_process(name: str) -> int:
    """A number of bytes that Linux reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def seconds(bench: Bench, repeats: int) -> Mapping[str, float]:
    """The median seconds of a step of each objective; they take turns, after a step of each that does not count."""
    objectives = {name: build() for name, build in OBJECTIVES.items()}
    times: dict[str, list[float]] = {name: [] for name in objectives}
    for objective in objectives.values():
        objective.require(bench.model)
        bench.step(objective)
    for _ in range(repeats):
        for name, objective in objectives.items():
            times[name].append(bench.step(objective))
    return {name: statistics.median(values) for name, values in times.items()}


def waiting(threads: int, folder: Path, device: str) -> list[float]:
    """The shares of the second and the third epoch in which the loop waits for a batch; samples are cached."""
    config = TrainingConfig(
        output=folder / f"threads-{threads}", cache=folder / "cache", data=DatasetEntry(component=Phantom(patients=75)),
        split=SplitSettings(validation=0.2), model=LesionNet(), objective=Ordinal(), epochs=3, batch=8, device=device,
        threads=threads, channels_last=True, augment=AugmentationSettings(
            flips="both", quarter_turns=True, crop=0.15, contrast=0.6, brightness=0.2, noise=0.2
        ),
    )  # fmt: skip
    [network] = train(config, Observer()).networks
    return [row["waiting"] for row in network.history[1:]]


def print_waiting(device: str) -> None:
    """Print the shares of epochs in which the loop waits for data."""
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):
            shares = ", ".join(f"{share:.2%}" for share in waiting(threads, Path(folder), device))
            print(f"loading, lesionnet at 448 × 448, {threads} threads: waits {shares} of an epoch", flush=True)


def main() -> None:
    """Print time and peak memory of each objective, and their ratios to those of the plain step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--peak", choices=OBJECTIVES)
    parser.add_argument("--loading", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.peak:
        bench = Bench(arguments.encoders[0], arguments.batch, torch.device(arguments.device))
        print(json.dumps(bench.peak(OBJECTIVES[arguments.peak]())))
        return
    if not arguments.loading:
        print_steps(arguments)
    print_waiting(arguments.device)


def print_steps(arguments: argparse.Namespace) -> None:
    """Print time and peak memory of each objective for each encoder."""
    device = torch.device(arguments.device)
    for encoder in arguments.encoders:
        times = seconds(Bench(encoder, arguments.batch, device), arguments.repeats)
        peaks = {}
        for name in OBJECTIVES:
            words = [sys.executable, "-W", "ignore", __file__, "--peak", name, "--encoders", encoder]
            words += ["--batch", str(arguments.batch), "--device", arguments.device]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            peaks[name] = json.loads(done.stdout.splitlines()[-1]) / 1e6
        for name, taken in times.items():
            print(
                f"{encoder}, {name}: {taken:.3f} s ({taken / times[PLAIN]:.2f} times), {peaks[name]:.0f} MB "
                f"({peaks[name] / peaks[PLAIN]:.2f} times)", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
