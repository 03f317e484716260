"""Metrics: what one case measures, and how many cases, or resamples of them, are summarised."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from .batch import Batch
from .component import Component, P
from .errors import Undefined as Undefined
from .model import Model
from .records import Array, Heatmap, Measurement, Prediction, Sample

Need = Literal["prediction", "heatmap", "annotation", "label", "model", "explainer"]


@dataclass(frozen=True)
class Case:
    """Everything a metric may see of one case.

    ``heatmap`` is as the store returns it (float32). ``batch`` (one sample) is there when ``model`` is among the
    metric's needs. With ``explainer`` among them so is ``explain``, which makes heatmaps (n, *space) float32 of any
    batch, also another model's, as the stored one was made: with its explainer, layer and reduction; ``traits`` are
    that explainer's. ``classes`` are those of the dataset, into which the sample's label is an index.
    """

    sample: Sample
    prediction: Prediction | None = None
    heatmap: Heatmap | None = None
    batch: Batch | None = None
    explain: Callable[[Batch], Array] | None = None
    traits: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()


class Metric(Component[P]):
    """A measure of heatmaps or predictions. A subclass must implement ``measure``; the rest has defaults."""

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What of a case it must have."""
        return frozenset({"heatmap", "annotation"})

    @cached_property
    def higher_is_better(self) -> bool:
        """Whether the larger value is the better one."""
        return True

    @cached_property
    def opposite(self) -> frozenset[str]:
        """Measures that are the better the other way round."""
        return frozenset()

    @cached_property
    def primary(self) -> str:
        """The measure that ranks combinations."""
        return "value"

    @abstractmethod
    def measure(self, case: Case) -> Measurement:
        """Name → number or array of one case; NaN where one measure is undefined, ``Undefined`` where all are."""
        raise NotImplementedError

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Per measure the value of each resample (r,), or (r, points) for a curve; NaN where it has no case.

        ``measurements`` holds (cases,) or (cases, …) per name, ``counts`` (r, cases) says how often each case occurs.
        """
        widths = {name: values[0].size if len(values) else 1 for name, values in measurements.items()}
        flat = [np.reshape(values, (len(values), -1)) for values in measurements.values()]
        # One product for all measures: converting the counts costs more than multiplying by them.
        means = mean(np.hstack(flat), counts) if flat else np.empty((len(counts), 0))
        parts = np.split(means, np.cumsum(list(widths.values()))[:-1], axis=1)
        return {
            name: part.reshape(len(counts), *np.shape(values)[1:])
            for (name, values), part in zip(measurements.items(), parts)
        }

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Forward and backward passes per case at most, for estimates; ``explanation`` are those of one heatmap."""
        return (0, 0)

    def expected(self, measure: str) -> float | None:
        """The value that a random heatmap is expected to reach, where it is known in closed form."""
        return None


def mean(values: Array, counts: Array) -> Array:
    """The mean over the defined cases of each resample: values (cases, …), counts (r, cases) → (r, …).

    >>> mean(np.array([1.0, 3.0, np.nan]), np.array([[1, 1, 5], [0, 2, 0], [0, 0, 1]])).tolist()
    [2.0, 3.0, nan]
    """
    defined = ~np.isnan(values)
    weights = counts.astype(np.float64, copy=False)
    totals = weights @ defined
    sums = weights @ np.where(defined, values, 0.0)
    means: Array = np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)
    return means
