"""The memory that runs take at their peak, beside what ``heatproof check`` states before them.

Run it with ``python docs/benchmarks/peaks.py [--configs NAME …]``. Every run and every estimate has a process of its
own. The aim is an estimate between 0.75 times the measured peak and any number above it. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.config.settings import from_plain
from heatproof.executor import keep_freed_memory
from heatproof.plan.plan import make_plan
from heatproof.registry.catalog import default
from heatproof.run.memory import demand_of, fitting_rows
from heatproof.run.runner import run

TEN = [
    "gradient", "input_x_gradient", "gradcam", "guided_backprop", "deconvnet",
    {"use": "integrated_gradients", "steps": 4}, {"use": "smoothgrad", "samples": 4},
    {"use": "smoothgrad_squared", "samples": 4}, {"use": "vargrad", "samples": 4},
    {"use": "lrp", "composite": "epsilon_plus"},
]  # fmt: skip
"""Ten methods; more steps and samples would take more time but no more memory."""
PHANTOM = {"use": "phantom", "split": "test", "patients": 40, "limit": 4}
RESNET = {"use": "resnet50", "weights": None, "seed": 0, "size": 448}
VGG = {"use": "vgg16", "weights": None, "seed": 0, "size": 448}
LAYERS = {"use": "gradcam", "layer": "all"}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "lesionnet, random, 1 image per pass": {"models": ["lesionnet"], "explainers": ["random"], "rows": 1, "chunk": 1},
    "lesionnet, ten methods, 4": {"models": ["lesionnet"], "explainers": TEN, "rows": 4},
    "resnet50, gradient, 1": {"models": [RESNET], "explainers": ["gradient"], "rows": 1},
    "resnet50, gradient, 4": {"models": [RESNET], "explainers": ["gradient"], "rows": 4},
    "resnet50, ten methods, 1": {"models": [RESNET], "explainers": TEN, "rows": 1},
    "resnet50, ten methods, 4": {"models": [RESNET], "explainers": TEN, "rows": 4},
    "vgg16, Grad-CAM of all layers, 2": {"models": [VGG], "explainers": [LAYERS], "rows": 2},
    "vgg16, LRP, 1": {"models": [VGG], "explainers": [{"use": "lrp", "composite": "epsilon_plus"}], "rows": 1},
}  # fmt: skip


def of_process(kind: str, name: str) -> int:
    """The bytes that are estimated, or that the run takes at its peak, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        usual = {
            "output": folder, "datasets": [PHANTOM], "metrics": ["ecs"], "device": "cpu", "chunk": 4, "cache": False,
            "statistics": {"resamples": 100, "permutations": 100},
        }  # fmt: skip
        config = from_plain({**usual, **CONFIGS[name]}, default())
        if kind == "estimated":
            plan = make_plan(config, default())
            demands = [demand_of(plan, *job) for job in plan.jobs()]
            return max(demand.total(fitting_rows(plan, demand)) for demand in demands if demand)
        keep_freed_memory()
        run(config, default())
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Print the measured and the estimated peak of every config, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), choices=CONFIGS)
    parser.add_argument("--kind", choices=("measured", "estimated"))
    arguments = parser.parse_args()
    if arguments.kind:
        print(json.dumps(of_process(arguments.kind, *arguments.configs)))
        return
    for name in arguments.configs:
        sizes = {}
        for kind in ("measured", "estimated"):
            words = [sys.executable, "-W", "ignore", __file__, "--kind", kind, "--configs", name]
            process = subprocess.run(words, check=True, capture_output=True, text=True, env=dict(os.environ))
            sizes[kind] = json.loads(process.stdout.splitlines()[-1]) / 1e9
        figures = ", ".join(f"{kind} {size:.2f} GB" for kind, size in sizes.items())
        print(f"{name}: {figures}, ratio {sizes['estimated'] / sizes['measured']:.2f}", flush=True)


if __name__ == "__main__":
    main()
