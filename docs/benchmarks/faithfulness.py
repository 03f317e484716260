"""Passes and seconds per heatmap of the faithfulness, robustness and randomization metrics, batched and one by one.

Run it with ``python docs/benchmarks/faithfulness.py`` on a machine with nothing else to do. It measures the gradient
heatmap of one image on a toy (16 × 16 pixels) and on ResNet50 with random weights (224 × 224), on a GPU if there is
one: with the fastest number of images per pass, up to 16, and with one image per pass. Passes are counted and compared
with those that ``heatproof check`` predicts. Randomized models are built by a first measurement, whose seconds are
printed separately.
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

DEVICE = "cpu"
if torch.cuda.is_available():
    DEVICE = "cuda"
TIMED: Mapping[str, Mapping[str, Any]] = {
    "deletion": {"steps": 32},
    "insertion": {"steps": 32},
    "pixel_flipping": {"steps": 32},
    "road": {"percentages": [10, 30, 50, 70, 90]},
    "max_sensitivity": {"samples": 10},
    "model_randomization": {"stages": 4},
}


def main() -> None:
    """Measure all metrics on both models and print passes and seconds."""
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
    """Print passes and seconds of one metric."""
    start = time.perf_counter()
    metric.measure(case(model, side, rows))
    first = time.perf_counter() - start
    measured_case = case(model, side, rows)
    with patch.object(Batch, "evaluate", Counting()) as counting:
        metric.measure(measured_case)
    batched, single = (min(seconds(metric, case(model, side, count)) for _ in range(2)) for count in (rows, 1))
    cost = metric.cost(model, (side, side), (1, 1))
    assert counting.counts == list(cost), f"{metric.short} takes {counting.counts} passes; its cost method says {cost}."
    print(
        f"  {metric.short:20} {cost[0]:4} forward {cost[1]:4} backward  batched {batched:7.3f} s  one by one "
        f"{single:7.3f} s  {single / batched:5.2f} times as long  first {first:6.2f} s"
    )


class Counting:
    """A replacement of ``Batch.evaluate`` that counts the images of forward and backward passes."""

    def __init__(self) -> None:
        self.counts = [0, 0]
        self.original = Batch.evaluate

    def __get__(self, batch: Batch, kind: type[Batch]) -> Any:
        return partial(self.evaluate, batch)

    def evaluate(self, batch: Batch, *arguments: Any, **settings: Any) -> Any:
        outputs, activations = self.original(batch, *arguments, **settings)
        explained = batch.explained(outputs)
        self.counts[0] += len(explained)
        if explained.requires_grad:
            explained.register_hook(self.backward)  # type: ignore[no-untyped-call]
        return outputs, activations

    def backward(self, gradient: torch.Tensor) -> None:
        self.counts[1] += len(gradient)


def case(model: Model, side: int, rows: int) -> Case:
    """The gradient heatmap of a random image, with the prediction and the batch of a run."""
    explainer: Any = default().create("explainer", "gradient", {})
    image = np.random.default_rng(0).random((3, side, side)).astype(np.float32)
    batch = Batch(model, ["one"], torch.from_numpy(image)[None].to(DEVICE), [0], rows=rows)
    prediction = model.read(logits(batch)[0].cpu().numpy())

    def explain(batch: Batch) -> Any:
        return heatmaps(explainer(batch), "max")

    return Case(Sample("one", image), prediction, Heatmap(explain(batch)[0]), batch, explain)


def best_rows(model: Model, side: int) -> int:
    """The number of images per pass with the least time per image."""
    times = {}
    for rows in (1, 2, 4, 8, 16):
        images = torch.zeros(rows, 3, side, side, device=DEVICE)
        batches = [Batch(model, list(map(str, range(rows))), images, [0] * rows) for _ in range(3)]
        times[rows] = min(elapsed(partial(logits, batch)) for batch in batches) / rows
    return min(times, key=lambda rows: times[rows])


def seconds(metric: Metric, case: Case) -> float:
    """The seconds of one measurement."""
    return elapsed(partial(metric.measure, case))


def elapsed(call: Callable[[], Any]) -> float:
    """The seconds of a call, including its work on the device."""
    start = time.perf_counter()
    call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
