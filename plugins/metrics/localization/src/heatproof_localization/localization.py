"""What all measures of localization share: findings, readers, exclusions and the value that chance reaches."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array
from heatproof_lesions.readings import Readers, absent, averaged, readings


class LocalizationParams(Params):
    """Which findings count (None: all but anatomy), and how several readers are taken together."""

    findings: tuple[str, ...] | None = None
    readers: Readers = "union"


class MaskParams(LocalizationParams):
    """A pixel belongs to the mask where at least the share ``covered`` of it is marked; 0: where anything is."""

    covered: float = Field(0.5, ge=0, le=1)


P = TypeVar("P", bound=LocalizationParams, covariant=True)


class Localization(Metric[P]):
    """How well a heatmap is placed on what was marked: ``combined`` over all findings, and each finding by itself.

    A subclass says what area of a finding counts, and scores a heatmap against several areas at once.
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "combined"

    def measure(self, case: Case) -> dict[str, float]:
        """``combined``, every examined finding (NaN where absent) and ``chance``; with ``each``, the readers' mean."""
        heatmap = self._heatmap(case)
        found = readings(case.sample, self.params.findings, self.params.readers)
        rows = [row for row in (self._reading(heatmap, reading) for reading in found) if row]
        if not rows:
            raise Undefined(absent(case.sample, found))
        return averaged(rows)

    @abstractmethod
    def scores(self, heatmap: Array, areas: Array) -> Array:
        """The score (m,) of a finite heatmap (*space) for each of several areas (m, *space), none of them empty."""
        raise NotImplementedError

    def area(self, coverage: Array) -> Array:
        """The area (*space) that counts, from the share of each pixel that is marked."""
        return coverage

    def chance(self, area: Array) -> dict[str, float]:
        """``chance``: what a heatmap of independent, equally distributed pixels is expected to reach."""
        return {"chance": float(area.mean(dtype=np.float64))}

    def _reading(self, heatmap: Array, reading: Mapping[str, Array]) -> dict[str, float]:
        """The row of one reading; empty where nothing is marked."""
        present = {finding: area for finding, coverage in reading.items() if (area := self.area(coverage)).any()}
        if not present:
            return {}
        single = list(present.values())
        areas = np.stack(single if len(single) == 1 else [np.maximum.reduce(single), *single])
        finite = bool(np.isfinite(heatmap).all())
        scores = self.scores(heatmap, areas).tolist() if finite else [np.nan] * len(areas)
        own = dict(zip(present, scores[-len(present) :]))
        return {"combined": scores[0], **{name: own.get(name, np.nan) for name in reading}, **self.chance(areas[0])}

    def _heatmap(self, case: Case) -> Array:
        assert case.heatmap is not None
        shape, space = case.heatmap.values.shape, case.sample.space
        if shape != space:
            raise DataError(f"{self.short} compares on one grid; the heatmap is {shape}, the annotation {space}.")
        return case.heatmap.values


def mask(coverage: Array, covered: float) -> Array:
    """Where at least the share ``covered`` is marked (*space) bool; a finding that nowhere is keeps its fullest pixels.

    >>> mask(np.array([0.2, 0.4, 0.6]), 0.5).tolist(), mask(np.array([0.2, 0.4, 0.4]), 0.5).tolist()
    ([False, False, True], [False, True, True])
    """
    least = min(covered, float(coverage.max()))
    return np.asarray(coverage >= least if least > 0 else coverage > 0)


def cut(heatmap: Array, count: int) -> tuple[float, float]:
    """The value of the ``count``-th hottest pixel, and the share of its equals that is still among the hottest.

    >>> cut(np.array([3, 1, 1, 0]), 2)
    (1.0, 0.5)
    """
    # Of the negative: a partition is slow where most pixels are the smallest, as behind a ReLU.
    last = -np.partition(-heatmap, count - 1, axis=None)[count - 1]
    places = count - int(np.count_nonzero(heatmap > last))
    return float(last), places / int(np.count_nonzero(heatmap == last))
