"""The runner's own share of the main job: all time but that of decoding, model passes, metrics and pages.

Run it with ``python docs/benchmarks/overhead.py [CONFIG]``. It runs the config in this process into a new folder,
counts the seconds spent in datasets and preparations, in networks and explainers, in metrics, and in what plugins write
at the end of the run, and prints the remaining seconds. One thread reads, without a cache, so that no other work runs
in parallel. torch and torchvision are imported before the clock starts. The aim is at most 5 %.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torchvision  # noqa: F401  (imported before the clock starts)

from heatproof import model
from heatproof.component import Component
from heatproof.config.settings import RunConfig, load
from heatproof.network.views import View
from heatproof.registry.catalog import default
from heatproof.results.finished import Results
from heatproof.run import batch_size, samples
from heatproof.run.runner import run

MAIN_JOB = Path(__file__).resolve().parents[2] / "examples" / "main.yaml"


class Clock:
    """Counts seconds by kind of work; only the outermost of nested calls counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside = False

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Count the seconds of a method or function as ``kind``.

        The method is replaced in the class that defines it; in a subclass it would look like an override.
        """
        owner = next(base for base in getattr(owner, "__mro__", (owner,)) if name in vars(base))
        setattr(owner, name, self._timed(getattr(owner, name), kind))

    def _timed(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self.inside:
                return function(*arguments, **keywords)
            self.inside = True
            start = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.inside = False
                self.seconds[kind] += time.perf_counter() - start

        return timed


def watch_config(clock: Clock, config: RunConfig, baseline: Component) -> None:
    """Count the seconds of all components of a config and of the passes and pages of a run."""
    for entry in config.datasets:
        clock.watch(type(entry.component), "load", "decoding")
    for network in config.models:
        clock.watch(type(network), "prepare", "decoding")
        clock.watch(type(network), "build", "passes")
    for explainer in (*config.explainers, baseline):
        clock.watch(type(explainer), "explain", "passes")
    for metric in config.metrics:
        clock.watch(type(metric), "measure", "metrics")
        clock.watch(type(metric), "summarise", "metrics")
    clock.watch(View, "__call__", "passes")
    clock.watch(model, "view", "passes")
    clock.watch(batch_size, "gradients", "passes")
    clock.watch(Results, "announce", "pages")


def main() -> None:
    """Run the job under the clock and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=MAIN_JOB)
    arguments = parser.parse_args()
    clock = Clock()
    catalog = default()
    with tempfile.TemporaryDirectory() as folder, patch.object(samples, "READERS", 1):
        config = load(arguments.config, catalog, [f"output={folder}/run", "cache=false"])
        watch_config(clock, config, catalog.create("explainer", "random", {}))
        start = time.perf_counter()
        finished = run(config, catalog)
        wall = time.perf_counter() - start
    overhead = wall - sum(clock.seconds.values())
    for kind, seconds in [*clock.seconds.items(), ("the runner's own", overhead), ("wall", wall)]:
        print(f"{kind:<18} {seconds:8.2f} s {100 * seconds / wall:6.1f} %")
    share = 100 * overhead / wall
    print(f"{finished.units} units, {finished.failures} failed cases; own share {share:.1f} % (aim: at most 5 %)")


if __name__ == "__main__":
    main()
