"""The base of all metrics of localization: findings, readers, exclusions and the score of a random heatmap."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array
from heatproof_lesions.readings import Findings, Readers, absent, averaged, readings


class LocalizationParams(Params):
    """Which findings count (None: all but anatomy), and how readers are combined."""

    findings: Findings | None = None
    readers: Readers = "union"


class MaskParams(LocalizationParams):
    """A pixel belongs to the mask if at least the share ``covered`` of it is marked; 0: if any part is marked."""

    covered: float = Field(0.5, ge=0, le=1)


P = TypeVar("P", bound=LocalizationParams, covariant=True)


class Localization(Metric[P]):
    """How well a heatmap agrees with the annotations: ``combined`` over all findings, and per finding.

    A subclass turns coverage into the area that counts, and scores a heatmap against several areas at once.
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "combined"

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings."""
        return {"findings": self.params.findings or ()}

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``combined``, ``chance`` and every examined finding (NaN if absent); with ``each``, readers' means."""
        heatmap = self._heatmap(case)
        annotations = readings(case.sample, self.params.findings, self.params.readers)
        rows = [self._row(heatmap, coverages) for coverages in annotations]
        rows = [row for row in rows if row]
        if not rows:
            raise Undefined(absent(case.sample, annotations))
        return averaged(rows)

    @abstractmethod
    def scores(self, heatmap: Array, areas: Array) -> Array:
        """Compute the score (m,) of a finite heatmap (*space) for each of m areas (m, *space), none of them empty."""
        raise NotImplementedError

    def area(self, coverage: Array) -> Array:
        """Return the area (*space) that counts, from the marked share of each pixel."""
        return coverage

    def chance(self, area: Array) -> dict[str, float]:
        """Return ``chance``: the expected score of a heatmap of independent, identically distributed pixels."""
        return {"chance": float(area.mean(dtype=np.float64))}

    def _row(self, heatmap: Array, coverages: Mapping[str, Array]) -> dict[str, float]:
        """Score a heatmap on the coverages of one reading; empty where nothing is marked."""
        areas = {finding: self.area(coverage) for finding, coverage in coverages.items()}
        areas = {finding: area for finding, area in areas.items() if area.any()}
        if not areas:
            return {}
        stack = list(areas.values())
        if len(areas) > 1:
            stack.insert(0, np.maximum.reduce(stack))
        scores = [np.nan] * len(stack)
        if np.isfinite(heatmap).all():
            scores = self.scores(heatmap, np.stack(stack)).tolist()
        by_finding = dict.fromkeys(coverages, np.nan) | dict(zip(areas, scores[-len(areas) :]))
        return {"combined": scores[0], **by_finding, **self.chance(stack[0])}

    def _heatmap(self, case: Case) -> Array:
        assert case.heatmap is not None
        shape = case.heatmap.values.shape
        space = case.sample.space
        if shape != space:
            raise DataError(f"{self.short} compares on one grid; the heatmap is {shape}, the annotation {space}.")
        return case.heatmap.values


def mask(coverage: Array, covered: float) -> Array:
    """Return the mask (*space) bool of pixels with a coverage of at least ``covered``, or else of the highest coverage.

    >>> mask(np.array([0.2, 0.4, 0.6]), 0.5).tolist(), mask(np.array([0.2, 0.4, 0.4]), 0.5).tolist()
    ([False, False, True], [False, True, True])
    """
    least = min(covered, float(coverage.max()))
    if least > 0:
        return np.asarray(coverage >= least)
    return np.asarray(coverage > 0)


def cut(heatmap: Array, count: int) -> tuple[float, float]:
    """Return the value of the ``count``-th hottest pixel, and the share of the pixels tied with it that are included.

    >>> cut(np.array([3, 1, 1, 0]), 2)
    (1.0, 0.5)
    """
    # Of the negative: a partition is slow where most pixels are the smallest, as behind a ReLU.
    last = -np.partition(-heatmap, count - 1, axis=None)[count - 1]
    included = count - int(np.count_nonzero(heatmap > last))
    return float(last), included / int(np.count_nonzero(heatmap == last))
