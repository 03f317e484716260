"""Metrics: they measure single cases, and summarise the measurements of many cases or resamples."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np

from .batch import Batch
from .component import Component, P
from .errors import Undefined as Undefined
from .model import Model
from .records import Array, Heatmap, Measurement, Prediction, Sample

Need = Literal["prediction", "heatmap", "annotation", "label", "model", "explainer"]


@dataclass(frozen=True)
class Case:
    """Everything a metric may see of one case; a part that its ``needs`` do not name is None or empty.

    ``batch`` holds one sample; the need ``model`` or ``explainer`` provides it. The need ``explainer`` also provides
    the explainer's ``traits``, and ``explain``: it returns heatmaps (n, *space) float32 of any batch, also of another
    model, by the explainer, layer and reduction of the stored heatmap. The label is an index into the dataset's
    ``classes``.
    """

    sample: Sample
    prediction: Prediction | None = None
    heatmap: Heatmap | None = None
    batch: Batch | None = None
    explain: Callable[[Batch], Array] | None = None
    traits: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClosedForm:
    """A published test of the difference of two combinations: its ``name`` and two-sided ``p``, NaN if undefined."""

    name: str
    p: float


class Metric(Component[P]):
    """Measures heatmaps or predictions. A subclass must implement ``measure``; everything else has a default."""

    @cached_property
    def needs(self) -> frozenset[Need]:
        """The parts of a case that ``measure`` reads."""
        return frozenset({"heatmap", "annotation"})

    @cached_property
    def higher_is_better(self) -> bool:
        """Whether the larger value is the better one."""
        return True

    @cached_property
    def opposite(self) -> frozenset[str]:
        """Measures for which ``higher_is_better`` is reversed."""
        return frozenset()

    @cached_property
    def primary(self) -> str:
        """The measure that ranks combinations."""
        return "value"

    @cached_property
    def benchmarks(self) -> Mapping[str, str]:
        """Measures that no heatmap changes, such as the score of a second reader → the names of these benchmarks.

        Reports draw them beside the combinations, on the scale of the primary measure.
        """
        return {}

    def names(self) -> Mapping[str, Collection[str]]:
        """The ``findings`` and ``readers`` of the dataset and the ``classes`` of the model that Params name.

        Unknown ones are refused; readers only if the dataset declares those that it has. Override it in a metric with
        such Params: a misspelt finding would be left out of the scores without a word.
        """
        return {}

    @property
    def untuned(self) -> tuple[str, ...]:
        """The names of the Params that ``tune`` has to fill from heatmaps of the tuning split, for each combination."""
        return ()

    def tune(self, cases: Iterable[Case]) -> Self:
        """Return a metric with these Params filled from cases of the tuning split, with heatmaps of one combination.

        A case has its sample, with annotations and label, and its heatmap. The reported samples are others.
        """
        return self

    @abstractmethod
    def measure(self, case: Case) -> Measurement:
        """Number or array of one case by measure; NaN where a measure is undefined, raises ``Undefined`` if all are."""
        raise NotImplementedError

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """The value of each resample by measure: (r,), or (r, points) for a curve; NaN in a resample without a case.

        ``measurements`` holds (cases,) or (cases, …) by measure; ``counts`` (r, cases) is how often each case occurs.
        """
        if not measurements:
            return {}
        flat = [np.reshape(values, (len(values), -1)) for values in measurements.values()]
        # One product for all measures: converting the counts costs more than multiplying by them.
        means = mean(np.hstack(flat), counts)
        parts = np.split(means, np.cumsum([values.shape[1] for values in flat])[:-1], axis=1)
        return {
            name: part.reshape(len(counts), *np.shape(values)[1:])
            for (name, values), part in zip(measurements.items(), parts)
        }

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """The measurements of a combination on a scale that it shares with others; their summary must not change.

        A paired test swaps cases between two combinations. A metric that compares the values of different cases, by
        ranks or at common thresholds, returns ranks here: else p depends on the scale of the values, which the measure
        ignores. ``measurements`` are those of ``summarise``.
        """
        return measurements

    def closed_form(self, a: Mapping[str, Array], b: Mapping[str, Array], patients: Sequence[str]) -> ClosedForm | None:
        """A paired test of the primary measure in closed form, which tables show beside the permutation test.

        ``a`` and ``b`` are the measurements of two combinations on the same cases (cases, …), without undefined ones.
        Returns None if there is no such test.
        """
        return None

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """The most forward and backward passes per case, for estimates; ``explanation`` are those of one heatmap."""
        return (0, 0)

    def copies(self, model: Model) -> int:
        """The most copies of the network's weights that it keeps, for estimates of memory."""
        return 0

    def expected(self, measure: str) -> float | None:
        """The expected value of a random heatmap, where it is known in closed form."""
        return None


def mean(values: Array, counts: Array) -> Array:
    """The mean of each resample over its cases that are not NaN: values (cases, …), counts (r, cases) → (r, …).

    >>> mean(np.array([1.0, 3.0, np.nan]), np.array([[1, 1, 5], [0, 2, 0], [0, 0, 1]])).tolist()
    [2.0, 3.0, nan]
    """
    defined = ~np.isnan(values)
    weights = counts.astype(np.float64, copy=False)
    totals = weights @ defined
    sums = weights @ np.where(defined, values, 0.0)
    means: Array = np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)
    return means
