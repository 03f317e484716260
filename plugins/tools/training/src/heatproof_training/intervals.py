"""The table of a training's numbers: of each part and network, of all folds pooled, and as the mean of the folds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from heatproof.metric import Metric
from heatproof.model import Model
from heatproof.records import Array
from heatproof.seeding import generator

from .evaluation import Predicted, resampled

COLUMNS = ("fold", "part", "measure", "value", "low", "high", "n_valid")
RESAMPLES = 1000
"""The resamples of patients of an interval."""
LEVELS = (0.025, 0.975)
"""The quantiles of an interval."""


def pooled_rows(
    metrics: Sequence[Metric], model: Model, predictions: Sequence[Predicted], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the measures of all predictions together, with the 95 % percentile interval over resamples of patients.

    A resample without a value, such as one that lacks a class, does not count; a single patient makes no interval.
    """
    counts = patient_counts([entry.sample.patient for entry in predictions], RESAMPLES, seed)
    everything = np.vstack([np.ones_like(counts[:1]), counts])
    several = len({entry.sample.patient for entry in predictions}) > 1
    for name, values in resampled(metrics, model, predictions, everything).items():
        row = {"part": "pooled", "measure": name, "value": values[0], "n_valid": len(predictions)}
        defined = values[1:][~np.isnan(values[1:])]
        if several and len(defined) and not np.isnan(values[0]):
            row |= dict(zip(("low", "high"), np.quantile(defined, LEVELS)))
        yield row


def patient_counts(patients: Sequence[str], resamples: int, seed: int) -> Array:
    """Draw patients with replacement: how often each case occurs (resamples, cases); cases of a patient stay together.

    >>> patient_counts(["a", "b", "b"], 2, 0).shape
    (2, 3)
    """
    names, position = np.unique(list(patients), return_inverse=True)
    draws = generator("training", seed, "intervals").multinomial(
        len(names), np.full(len(names), 1 / len(names)), resamples
    )
    return np.asarray(draws[:, position], dtype=np.int64)


def network_rows(fold: int, part: str, values: Mapping[str, float], cases: int) -> Iterator[dict[str, Any]]:
    """Yield the numbers of one network on a part of ``cases`` predictions."""
    for name, value in values.items():
        yield {"fold": fold or "", "part": part, "measure": name, "value": value, "n_valid": cases}


def mean_rows(means: Mapping[str, Mapping[str, float]], cases: int) -> Iterator[dict[str, Any]]:
    """Yield the mean of each number over the folds."""
    for name, entry in means.items():
        yield {"part": "mean", "measure": name, "value": entry["mean"], "n_valid": cases}
