"""What share of the main job is the runner's own: everything but decoding, model passes, metrics and pages.

Run it with ``python docs/benchmarks/overhead.py [CONFIG]``; it runs the config into a fresh folder in this process,
counts the seconds spent inside datasets and preparations, networks and explainers, metrics, and what plugins write
when the run has finished, and prints what is left. One thread reads and nothing comes from the cache, so that no work
goes on beside what is counted. The imports of torch and torchvision come before the clock starts. The aim is at most
5 %.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torchvision  # noqa: F401  (imported before the clock starts)

from heatproof import model
from heatproof.config.settings import load
from heatproof.network import views as canonical
from heatproof.registry.catalog import default
from heatproof.results.finished import Results
from heatproof.run import batch_size as rows
from heatproof.run import samples
from heatproof.run.runner import run

MAIN_JOB = Path(__file__).resolve().parents[2] / "examples" / "main.yaml"


class Clock:
    """Seconds by kind of work; of nested calls only the outermost counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside = False

    def watch(self, owner: Any, name: str, kind: str) -> None:
        """Count the calls of a method or function under ``kind``.

        A method is replaced where it is defined, or the component would look as if it overrode it.
        """
        owner = next(base for base in getattr(owner, "__mro__", (owner,)) if name in vars(base))
        setattr(owner, name, self._timed(getattr(owner, name), kind))

    def _timed(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self.inside:
                return function(*arguments, **keywords)
            self.inside, start = True, time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.inside = False
                self.seconds[kind] += time.perf_counter() - start

        return timed


def main() -> None:
    """Run the job under the clock and print the shares."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else MAIN_JOB
    clock, catalog = Clock(), default()
    with tempfile.TemporaryDirectory() as folder:
        config = load(path, catalog, [f"output={folder}/run", "cache=false"])
        samples.READERS = 1
        for component in (entry.component for entry in config.datasets):
            clock.watch(type(component), "load", "decoding")
        for component in config.models:
            clock.watch(type(component), "prepare", "decoding")
            clock.watch(type(component), "build", "passes")
        for component in [*config.explainers, catalog.create("explainer", "random", {})]:
            clock.watch(type(component), "explain", "passes")
        for component in config.metrics:
            for method in ("measure", "summarise"):
                clock.watch(type(component), method, "metrics")
        clock.watch(canonical.View, "__call__", "passes")
        clock.watch(model, "view", "passes")
        clock.watch(rows, "gradients", "passes")
        clock.watch(Results, "announce", "pages")
        start = time.perf_counter()
        finished = run(config, catalog)
        wall = time.perf_counter() - start
    own = wall - sum(clock.seconds.values())
    for kind, seconds in [*clock.seconds.items(), ("the runner's own", own), ("wall", wall)]:
        print(f"{kind:<18} {seconds:8.2f} s {100 * seconds / wall:6.1f} %")
    share = 100 * own / wall
    print(f"{finished.units} units, {finished.failures} failed cases; own share {share:.1f} % (aim: at most 5 %)")


if __name__ == "__main__":
    main()
