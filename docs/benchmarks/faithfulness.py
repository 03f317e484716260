"""How many passes and seconds faithfulness, robustness and randomization take per map, batched and one by one.

Run it with ``python docs/benchmarks/faithfulness.py``, on a machine with nothing else to do. It measures the gradient's
map of an image on a toy (16 × 16 pixels) and on ResNet50 with random weights (224 × 224), on the graphics card where
there is one: with as many images in one pass as the runner would find best, up to 16, and with one. Passes are
counted and held against those that ``heatproof check`` prices. Randomized models are made before the clock starts,
which takes the seconds that are printed apart.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from heatproof.batch import Batch
from heatproof.explainer import heatmaps
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.records import Heatmap, Sample
from heatproof.registry.catalog import default
from heatproof.testing.toys import Residual

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TIMED: Mapping[str, Mapping[str, Any]] = {
    "deletion": {"steps": 32},
    "insertion": {"steps": 32},
    "pixel_flipping": {"steps": 32},
    "road": {"percentages": [10, 30, 50, 70, 90]},
    "max_sensitivity": {"samples": 10},
    "model_randomization": {"stages": 4},
}


def main() -> None:
    """Measure both models, print passes and seconds."""
    resnet = default().create("model", "resnet50", {"size": 224})
    assert isinstance(resnet, Model)
    for model, side in ((Residual(), 16), (resnet, 224)):
        rows = best_rows(model, side)
        print(f"{model.short} at {side} × {side} on {DEVICE}: {rows} images in one pass, and one by one")
        for name, params in TIMED.items():
            metric = default().create("metric", name, dict(params))
            assert isinstance(metric, Metric)
            measure(metric, model, side, rows)


def measure(metric: Metric, model: Model, side: int, rows: int) -> None:
    """One line for a metric."""
    start = time.perf_counter()
    metric.measure(case(model, side, rows))
    first = time.perf_counter() - start
    made = case(model, side, rows)
    with patch.object(Batch, "forward", Counting()) as counting:
        metric.measure(made)
    batched, single = (min(seconds(metric, case(model, side, count)) for _ in range(2)) for count in (rows, 1))
    price = metric.cost(model, (side, side), (1, 1))
    assert counting.counts == list(price), f"{metric.short} takes {counting.counts} passes, priced are {price}."
    print(
        f"  {metric.short:20} {price[0]:4} forward {price[1]:4} backward  batched {batched:7.3f} s  one by one "
        f"{single:7.3f} s  {single / batched:5.2f} times as long  first {first:6.2f} s"
    )


class Counting:
    """Counts the images that pass forward and backward in the place of ``Batch.forward``."""

    def __init__(self) -> None:
        self.counts, self.forward = [0, 0], Batch.forward

    def __get__(self, batch: Batch, kind: type[Batch]) -> Any:
        return lambda *rest, **settings: self.passed(batch, *rest, **settings)

    def passed(self, batch: Batch, *rest: Any, **settings: Any) -> Any:
        found, activations = self.forward(batch, *rest, **settings)
        self.counts[0] += len(found)
        if found.requires_grad:
            found.register_hook(self.backward)
        return found, activations

    def backward(self, gradient: torch.Tensor) -> None:
        self.counts[1] += len(gradient)


def case(model: Model, side: int, rows: int) -> Case:
    """The gradient's map of a random image, with the prediction and the batch that a run would give."""
    explainer: Any = default().create("explainer", "gradient", {})
    image = np.random.default_rng(0).random((3, side, side)).astype(np.float32)
    batch = Batch(model, ["one"], torch.from_numpy(image)[None].to(DEVICE), [0], rows=rows)
    prediction = model.read(logits(batch)[0].cpu().numpy())

    def explain(batch: Batch) -> Any:
        return heatmaps(explainer(batch), "max")

    return Case(Sample("one", image), prediction, Heatmap(explain(batch)[0]), batch, explain)


def best_rows(model: Model, side: int) -> int:
    """The number of images per pass that takes the least time for each."""
    found = {}
    for rows in (1, 2, 4, 8, 16):
        images = torch.zeros(rows, 3, side, side, device=DEVICE)
        batches = [Batch(model, list(map(str, range(rows))), images, [0] * rows) for _ in range(3)]
        found[rows] = min(elapsed(partial(logits, batch)) for batch in batches) / rows
    return min(found, key=lambda rows: found[rows])


def seconds(metric: Metric, made: Case) -> float:
    """The seconds of one measurement."""
    return elapsed(partial(metric.measure, made))


def elapsed(call: Callable[[], Any]) -> float:
    """The seconds of a call, with all that it left to the device."""
    start = time.perf_counter()
    call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
