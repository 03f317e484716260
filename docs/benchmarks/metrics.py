"""How long the metrics of localization take per 448 × 448 heatmap, beside Quantus where it is installed.

Run it with ``python docs/benchmarks/metrics.py`` on a machine with nothing else to do; without Quantus it prints the
command that installs it. It measures a batch of heatmaps of three kinds, each with lesions on 3 % of the image, and
prints milliseconds per heatmap. The aims: ecs, pointing, relevance_mass and relevance_rank at least 100 times as fast
as Quantus' equivalents, and froc with 50 thresholds and all its hit rules under 20 ms. Then it summarises
10,000 resamples of 81 cases with froc.

Quantus asks for a model and predicts with it; here a network of one pooling stands in, so that its metrics' own time is
measured.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from heatproof.metric import Case, Metric
from heatproof.records import Annotation, Heatmap, Sample
from heatproof.registry.catalog import default

Array = NDArray[Any]

SIDE, BATCH, LESIONS, ROUNDS = 448, 16, 0.03, 3
TIMED: Mapping[str, Mapping[str, Any]] = {
    "ecs": {"weights": {"lesion": 1.0}},
    "pointing": {},
    "relevance_mass": {},
    "relevance_rank": {},
    "iou": {},
    "froc": {},
}
EQUIVALENTS = {
    "pointing": "PointingGame",
    "relevance_mass": "RelevanceMassAccuracy",
    "relevance_rank": "RelevanceRankAccuracy",
}
"""Metric → class of Quantus; ``ecs`` has none and is held against the fastest of them."""


def main() -> None:
    """Time every metric on every kind of heatmap, print the milliseconds."""
    metrics = {name: made(name, params) for name, params in TIMED.items()}
    masks = [lesions(seed) for seed in range(BATCH)]
    kinds = {"noise": noise, "smooth": smooth, "relu": relu, "cam": cam}
    own: dict[str, float] = {}
    print(f"milliseconds per {SIDE} × {SIDE} heatmap, batch of {BATCH}, best of {ROUNDS}")
    for name, metric in metrics.items():
        found = {kind: own_time(metric, [draw(seed) for seed in range(BATCH)], masks) for kind, draw in kinds.items()}
        own[name] = max(found.values())
        print(f"{name:15} " + "  ".join(f"{kind} {value:7.3f}" for kind, value in found.items()))
    compare(own, [noise(seed) for seed in range(BATCH)], masks)
    summarise(metrics["froc"])


def made(name: str, params: Mapping[str, Any]) -> Metric:
    metric = default().create("metric", name, dict(params))
    assert isinstance(metric, Metric)
    return metric


def compare(own: Mapping[str, float], maps: Sequence[Array], masks: Sequence[Array]) -> None:
    """Quantus' times, and how many times slower they are than the slowest kind of heatmap here."""
    if find_spec("quantus") is None:
        print("Quantus is not installed, so nothing is compared; install it by: python -m pip install quantus")
        return
    times = {name: quantus_time(each, maps, masks) for name, each in EQUIVALENTS.items()}
    times["ecs"] = min(times.values())
    for name, value in sorted(times.items()):
        print(f"{name:15} Quantus {value:8.2f}  {value / own[name]:6.0f} times as long (aim: 100)")


def quantus_time(name: str, maps: Sequence[Array], masks: Sequence[Array]) -> float:
    """Milliseconds per heatmap of one of Quantus' metrics, called once for the whole batch."""
    metric = getattr(import_module("quantus"), name)(abs=False, normalise=False, disable_warnings=True)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    images = np.zeros((len(maps), 1, SIDE, SIDE), dtype=np.float32)
    heat, marks = np.stack(maps)[:, None], np.stack(masks)[:, None] >= 0.5
    labels = np.zeros(len(maps), dtype=int)

    def call() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric(model=model, x_batch=images, y_batch=labels, a_batch=heat, s_batch=marks, device="cpu")

    return 1000 * best(call) / len(maps)


def own_time(metric: Metric, maps: Sequence[Array], masks: Sequence[Array]) -> float:
    """Milliseconds per heatmap of one of our metrics."""
    cases = [case(heat, mask) for heat, mask in zip(maps, masks)]
    return 1000 * best(lambda: [metric.measure(each) for each in cases]) / len(cases)


def summarise(metric: Metric) -> None:
    """Print how long 10,000 resamples of 81 cases take."""
    rows = [metric.measure(case(smooth(seed), lesions(seed))) for seed in range(81)]
    table = {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}
    counts = np.random.default_rng(0).multinomial(81, np.full(81, 1 / 81), 10_000)
    print(f"{metric.short}: 10,000 resamples of 81 cases in {best(lambda: metric.summarise(table, counts)):.2f} s")


def best(call: Callable[[], Any]) -> float:
    """The seconds of the fastest of some calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def case(heat: Array, mask: Array) -> Case:
    sample = Sample("one", np.zeros((1, SIDE, SIDE), dtype=np.float32), (Annotation("lesion", mask),))
    return Case(sample, heatmap=Heatmap(heat))


def lesions(seed: int) -> Array:
    """Some hundred small lesions with borders that cover pixels in part."""
    field = smooth(1000 + seed, sigma=2)
    marked = (field > np.quantile(field, 1 - LESIONS)).astype(np.float32)
    return np.asarray(gaussian_filter(marked, 0.5, truncate=2))


def noise(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(SIDE, SIDE)).astype(np.float32)


def smooth(seed: int, sigma: float = 6) -> Array:
    return np.asarray(gaussian_filter(noise(seed), sigma), dtype=np.float32)


def relu(seed: int) -> Array:
    return np.maximum(smooth(seed, sigma=1) - 0.3, 0)


def cam(seed: int) -> Array:
    coarse = np.random.default_rng(seed).random((14, 14))
    return np.asarray(zoom(coarse, SIDE // 14, order=1), dtype=np.float32)


if __name__ == "__main__":
    main()
