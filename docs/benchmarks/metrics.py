"""Time of the localization metrics per 448 × 448 heatmap, compared with Quantus if it is installed.

Run it with ``python docs/benchmarks/metrics.py`` on a machine with nothing else to do; without Quantus it prints the
command that installs it. It measures batches of heatmaps of four kinds, each with lesions on 3 % of the image, and
prints milliseconds per heatmap. The aims: ecs, pointing, relevance_mass and relevance_rank at least 100 times as fast
as Quantus' equivalents, and froc with 50 thresholds and all its hit rules under 20 ms. Then it summarises
10,000 resamples of 81 cases with froc.

Quantus needs a model and predicts with it; the model here is a single pooling, to measure the time of the metrics only.
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

SIDE = 448
BATCH = 16
LESIONS = 0.03
"""The share of the image that lesions cover."""
ROUNDS = 3
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
"""Metric → class of Quantus; ``ecs`` has no equivalent and is compared with the fastest of them."""


def main() -> None:
    """Time every metric on every kind of heatmap and print the milliseconds."""
    metrics = {name: create(name, params) for name, params in TIMED.items()}
    masks = [lesions(seed) for seed in range(BATCH)]
    kinds = {"noise": noise, "smooth": smooth, "relu": relu, "cam": cam}
    slowest: dict[str, float] = {}
    print(f"milliseconds per {SIDE} × {SIDE} heatmap, batch of {BATCH}, best of {ROUNDS}")
    for name, metric in metrics.items():
        times = {
            kind: heatproof_time(metric, [draw(seed) for seed in range(BATCH)], masks) for kind, draw in kinds.items()
        }
        slowest[name] = max(times.values())
        print(f"{name:15} " + "  ".join(f"{kind} {value:7.3f}" for kind, value in times.items()))
    compare(slowest, [noise(seed) for seed in range(BATCH)], masks)
    summarise(metrics["froc"])


def create(name: str, params: Mapping[str, Any]) -> Metric:
    metric = default().create("metric", name, dict(params))
    assert isinstance(metric, Metric)
    return metric


def compare(slowest: Mapping[str, float], maps: Sequence[Array], masks: Sequence[Array]) -> None:
    """Print Quantus' times, also relative to our times for the slowest kind of heatmap."""
    if find_spec("quantus") is None:
        print("Quantus is not installed, so nothing is compared; install it by: python -m pip install quantus")
        return
    times = {name: quantus_time(equivalent, maps, masks) for name, equivalent in EQUIVALENTS.items()}
    times["ecs"] = min(times.values())
    for name, value in sorted(times.items()):
        print(f"{name:15} Quantus {value:8.2f}  {value / slowest[name]:6.0f} times as long (aim: 100)")


def quantus_time(name: str, maps: Sequence[Array], masks: Sequence[Array]) -> float:
    """Milliseconds per heatmap of one of Quantus' metrics, called once for the whole batch."""
    metric = getattr(import_module("quantus"), name)(abs=False, normalise=False, disable_warnings=True)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    images = np.zeros((len(maps), 1, SIDE, SIDE), dtype=np.float32)
    heatmaps = np.stack(maps)[:, None]
    lesions = np.stack(masks)[:, None] >= 0.5
    labels = np.zeros(len(maps), dtype=int)

    def call() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric(model=model, x_batch=images, y_batch=labels, a_batch=heatmaps, s_batch=lesions, device="cpu")

    return 1000 * best(call) / len(maps)


def heatproof_time(metric: Metric, maps: Sequence[Array], masks: Sequence[Array]) -> float:
    """Milliseconds per heatmap of one of our metrics."""
    cases = [case(heatmap, mask) for heatmap, mask in zip(maps, masks)]
    return 1000 * best(lambda: [metric.measure(case) for case in cases]) / len(cases)


def summarise(metric: Metric) -> None:
    """Print how long 10,000 resamples of 81 cases take."""
    rows = [metric.measure(case(smooth(seed), lesions(seed))) for seed in range(81)]
    table = {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}
    counts = np.random.default_rng(0).multinomial(81, np.full(81, 1 / 81), 10_000)
    print(f"{metric.short}: 10,000 resamples of 81 cases in {best(lambda: metric.summarise(table, counts)):.2f} s")


def best(call: Callable[[], Any]) -> float:
    """The seconds of the fastest of several calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def case(heatmap: Array, mask: Array) -> Case:
    sample = Sample("one", np.zeros((1, SIDE, SIDE), dtype=np.float32), (Annotation("lesion", mask),))
    return Case(sample, heatmap=Heatmap(heatmap))


def lesions(seed: int) -> Array:
    """A few hundred small lesions whose borders cover pixels partly."""
    field = smooth(1000 + seed, sigma=2)
    mask = (field > np.quantile(field, 1 - LESIONS)).astype(np.float32)
    return np.asarray(gaussian_filter(mask, 0.5, truncate=2))


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
