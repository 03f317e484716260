"""Peak memory of the grid of Van Craenendonck et al. 2020 on ResNet50: the folded view against the unfolded network.

Run it with ``python docs/benchmarks/memory.py [--network resnet50] [--size 448] [--rows 1]``. Each side runs the same
explainers over the same batch in a separate process and prints the rise of memory after the view is built. The aim is
at most 0.6 times on ResNet50. Linux only.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from grid import methods
from networks import NETWORKS, calibrated, random_images
from torch import Tensor

from heatproof.batch import Batch
from heatproof.model import NetworkModel
from heatproof.network.opaque import Opaque
from heatproof.network.views import View
from heatproof.passes import release_layers

SAMPLES = 2
"""Draws per method that draws; more would take more time but no more memory."""


class Unfolded(NetworkModel):
    """The unfolded network: separate BatchNorms and contiguous tensors, frozen like the folded view."""

    def view(self, images: Tensor, inputs: Mapping[str, Any], folded: bool = True) -> View | Opaque:
        """The canonical view, for every pass."""
        return super().view(images, inputs, folded=False)


KINDS = {"folded": NetworkModel, "unfolded": Unfolded}


def resident() -> int:
    """The bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peaks(kind: str, name: str, size: int, rows: int) -> list[int]:
    """The rise of memory in bytes, by all methods but LRP and by the whole grid."""
    model = KINDS[kind](network=calibrated(name, size).requires_grad_(False), classes=["grade"])
    explainers = methods(model, SAMPLES)
    requests = [request for explainer in explainers.values() for request in explainer.requests(model)]
    ids = [str(row) for row in range(rows)]
    batch = Batch(
        model, ids, random_images(rows, size), [0] * rows, layers=model.layers(), requests=requests, rows=rows
    )
    assert isinstance(batch.view, View)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident()
    for explainer in explainers.values():
        if explainer.layers(model):
            explainer(batch)
    release_layers(batch)  # like a run, in which the explainers that read layers come first
    others = {name: explainer for name, explainer in explainers.items() if not explainer.layers(model)}
    rises = []
    for relevance in (False, True):
        for name, explainer in others.items():
            if name.startswith("lrp") == relevance:
                explainer(batch)
        rises.append(high_water() - before)
    return rises


def high_water() -> int:
    """The most bytes of this process that were in memory since the mark was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Print both peaks and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet50", choices=NETWORKS)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--kind", choices=KINDS)
    arguments = parser.parse_args()
    if arguments.kind:
        torch.manual_seed(0)
        print(*peaks(arguments.kind, arguments.network, arguments.size, arguments.rows))
        return
    words = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--kind"]
    sizes = {}
    for kind in KINDS:
        process = subprocess.run([*words, kind], check=True, capture_output=True, text=True)
        sizes[kind] = [int(size) for size in process.stdout.split()]
    for name, folded, unfolded in zip(("without LRP", "whole grid"), sizes["folded"], sizes["unfolded"]):
        print(f"{name}: folded {folded / 1e6:.0f} MB, unfolded {unfolded / 1e6:.0f} MB, ratio {folded / unfolded:.2f}")


if __name__ == "__main__":
    main()
