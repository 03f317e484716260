"""The evaluation of a network on a part: mean losses, predictions and the measures of metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof.errors import HeatproofError
from heatproof.metric import Case, Metric, Undefined
from heatproof.model import Model
from heatproof.records import Array, Prediction, Sample

MOST_CLASSES = 50
"""The most classes for which a confusion matrix is kept."""


@dataclass(frozen=True)
class Predicted:
    """A sample without its pixels, and the network's prediction; None for one without a class of the image."""

    sample: Sample
    prediction: Prediction | None


@dataclass(frozen=True)
class Evaluation:
    """Means of the losses, measures by name, and the predictions of a part."""

    losses: Mapping[str, float]
    measures: Mapping[str, float]
    predictions: Sequence[Predicted]

    @property
    def numbers(self) -> dict[str, float]:
        """Losses and measures by name."""
        return {**self.losses, **self.measures}


def predicted(model: Model, logits: Tensor, samples: Sequence[Sample]) -> list[Predicted]:
    """Read logits (n, class) as predictions; logits per pixel decide on no class of the image."""
    small = [replace(sample, image=sample.image[:, :0], annotations=(), field=None, extras={}) for sample in samples]
    if logits.ndim > 2:
        return [Predicted(sample, None) for sample in small]
    values = logits.detach().float().cpu().numpy()
    return [Predicted(sample, model.read(row)) for sample, row in zip(small, values)]


def measures(metrics: Sequence[Metric], model: Model, predictions: Sequence[Predicted]) -> dict[str, float]:
    """Return the scalar measures of all metrics; a measure of a second metric that has the same name gets its name."""
    once = np.ones((1, len(predictions)), dtype=np.int64)
    return {name: float(values[0]) for name, values in resampled(metrics, model, predictions, once).items()}


def resampled(
    metrics: Sequence[Metric], model: Model, predictions: Sequence[Predicted], counts: Array
) -> dict[str, Array]:
    """Return the scalar measures (resamples,) of all metrics where each prediction occurs ``counts`` times.

    ``counts`` is (resamples, predictions). Names are those of ``measures``.
    """
    result: dict[str, Array] = {}
    for metric in metrics:
        for name, values in _summary(metric, model, predictions, counts).items():
            result[f"{metric.short}.{name}" if name in result else name] = values
    return result


def _summary(metric: Metric, model: Model, predictions: Sequence[Predicted], counts: Array) -> dict[str, Array]:
    rows: list[Mapping[str, Any]] = []
    defined: list[int] = []
    for index, entry in enumerate(predictions):
        if entry.prediction is None:
            continue
        try:
            rows.append(metric.measure(Case(entry.sample, entry.prediction, classes=model.classes)))
        except Undefined:
            continue
        defined.append(index)
    if not rows:
        return {}
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: np.stack([np.asarray(row.get(name, np.nan), dtype=np.float64) for row in rows]) for name in names}
    summary = metric.summarise(columns, counts[:, defined])
    return {name: values for name, values in summary.items() if np.ndim(values) == 1}


def confusion(model: Model, predictions: Sequence[Predicted]) -> Array | None:
    """Return the number of samples by label (row) and decision (column); None where it would say nothing."""
    count = len(model.classes)
    pairs = Counter(
        (int(entry.sample.label), entry.prediction.decision)
        for entry in predictions
        if entry.prediction is not None and isinstance(entry.sample.label, int)
    )
    if not pairs or not 1 < count <= MOST_CLASSES:
        return None
    matrix = np.zeros((count, count), dtype=np.int64)
    for (label, decision), number in pairs.items():
        matrix[label, decision] = number
    return matrix


def direction(select: str, metrics: Sequence[Metric]) -> bool:
    """Whether a larger value of the selected number is better."""
    name = select.rpartition(".")[2]
    for metric in metrics:
        if select.startswith(f"{metric.short}.") or len(metrics) == 1:
            return metric.higher_is_better != (name in metric.opposite)
    return bool(metrics) and all(metric.higher_is_better != (name in metric.opposite) for metric in metrics)


def selected(select: str, numbers: Mapping[str, float]) -> float:
    """Return the number that selects the epoch; raises ``HeatproofError`` for an unknown name."""
    if select not in numbers:
        raise HeatproofError(f"select: there is no number {select!r}; allowed: {', '.join(sorted(numbers))}.")
    return numbers[select]


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all values of all tensors are finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
