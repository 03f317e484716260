"""The base of all metrics of localization: findings, readers, exclusions and the score of a random heatmap."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array, Sample
from heatproof_lesions.readings import Findings, Readers, absent, averaged, readings

COMBINED = "combined"
"""The measure over all findings."""
HUMAN = "human"
"""The measure of the human benchmark over all findings, and the start of its measures per finding."""


class LocalizationParams(Params):
    """Which findings count (None: all but anatomy), and how readers are combined.

    ``human`` names a reader whose annotations do not count; they are scored like a heatmap, as a benchmark.
    """

    findings: Findings | None = None
    readers: Readers = "union"
    human: str | None = Field(None, min_length=1)


class MaskParams(LocalizationParams):
    """A pixel belongs to the mask if at least the share ``covered`` of it is marked; 0: if any part is marked."""

    covered: float = Field(0.5, ge=0, le=1)


P = TypeVar("P", bound=LocalizationParams, covariant=True)


class Localization(Metric[P]):
    """How well a heatmap agrees with the annotations: ``combined`` over all findings, and per finding.

    A subclass turns coverage into the area that counts, and scores a heatmap against several areas at once. With the
    setting ``human``, the annotations of this reader are scored by the same metric: ``human`` over all findings, and
    ``human FINDING``; 0 for a finding that the reader did not see, NaN for one that he did not look for. The human
    benchmark is that of Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine
    Intelligence 4 (2022).
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = COMBINED

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings and the reader of the human benchmark."""
        readers = [self.params.human] if self.params.human is not None else []
        return {"findings": self.params.findings or (), "readers": readers}

    @cached_property
    def benchmarks(self) -> Mapping[str, str]:
        """The measure ``human`` where a reader is the benchmark."""
        if self.params.human is None:
            return {}
        return {HUMAN: f"human benchmark ({self.params.human})"}

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``combined``, ``chance`` and every examined finding (NaN if absent); with ``each``, readers' means.

        With a human benchmark, also ``human`` and ``human FINDING``.
        """
        heatmap = self._heatmap(case)
        sample, human = divided(case.sample, self.params.human)
        annotations = readings(sample, self.params.findings, self.params.readers)
        benchmark = readings(human, self.params.findings)[0]
        rows = [self._row(heatmap, coverages, benchmark) for coverages in annotations]
        rows = [row for row in rows if row]
        if not rows:
            raise Undefined(absent(sample, annotations))
        return averaged(rows)

    @abstractmethod
    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute the score (m,) of a finite heatmap (*space) for each of m areas (m, *space), none of them empty.

        ``names`` (m,) are the findings of the areas, or ``combined``.
        """
        raise NotImplementedError

    def human_scores(self, coverage: Array, areas: Array) -> Array:
        """Compute the score (m,) of what a reader annotated (*space), some of it above 0, for each of m areas."""
        return self.scores(coverage, areas, [HUMAN] * len(areas))

    def area(self, coverage: Array) -> Array:
        """Return the area (*space) that counts, from the marked share of each pixel."""
        return coverage

    def chance(self, area: Array) -> dict[str, float]:
        """Return ``chance``: the expected score of a heatmap of independent, identically distributed pixels."""
        return {"chance": float(area.mean(dtype=np.float64))}

    def _row(self, heatmap: Array, coverages: Mapping[str, Array], human: Mapping[str, Array]) -> dict[str, float]:
        """Score a heatmap and the benchmark on the coverages of one reading; empty where nothing is marked."""
        areas = {finding: self.area(coverage) for finding, coverage in coverages.items()}
        areas = {finding: area for finding, area in areas.items() if area.any()}
        if not areas:
            return {}
        areas = {COMBINED: np.maximum.reduce(list(areas.values())), **areas}
        stack = np.stack(list(areas.values()))
        scores = dict.fromkeys((COMBINED, *coverages), np.nan)
        if np.isfinite(heatmap).all():
            scores |= dict(zip(areas, self.scores(heatmap, stack, list(areas)).tolist()))
        return scores | self.chance(areas[COMBINED]) | self._human_row(areas, coverages, human)

    def _human_row(
        self, areas: Mapping[str, Array], coverages: Mapping[str, Array], human: Mapping[str, Array]
    ) -> dict[str, float]:
        """Score the benchmark: per finding, and over all where it was asked about all that are marked."""
        if self.params.human is None:
            return {}
        row = dict.fromkeys((HUMAN, *(f"{HUMAN} {finding}" for finding in coverages)), np.nan)
        marked = [finding for finding in areas if finding != COMBINED]
        pairs = {f"{HUMAN} {finding}": (human[finding], areas[finding]) for finding in marked if finding in human}
        if human.keys() >= set(marked):
            pairs[HUMAN] = np.maximum.reduce([human[finding] for finding in marked]), areas[COMBINED]
        return row | {name: self._human_score(*pair) for name, pair in pairs.items()}

    def _human_score(self, coverage: Array, area: Array) -> float:
        """Score what a reader annotated; a finding that the reader did not see is missed."""
        if not coverage.any():
            return 0.0
        return float(self.human_scores(coverage, area[None])[0])

    def _heatmap(self, case: Case) -> Array:
        assert case.heatmap is not None
        shape = case.heatmap.values.shape
        space = case.sample.space
        if shape != space:
            raise DataError(f"{self.short} compares on one grid; the heatmap is {shape}, the annotation {space}.")
        return case.heatmap.values


def divided(sample: Sample, human: str | None) -> tuple[Sample, Sample]:
    """Return a sample with the annotations of all readers but ``human``, and one with those of ``human`` alone."""
    others = tuple(annotation for annotation in sample.annotations if annotation.reader != human)
    benchmark = tuple(annotation for annotation in sample.annotations if annotation.reader == human)
    return replace(sample, annotations=others), replace(sample, annotations=benchmark)


def relative(scores: Array, areas: Array) -> Array:
    """Divide scores (m,), shares of something, by the shares of the image that the areas (m, *space) cover."""
    return np.asarray(scores / areas.reshape(len(areas), -1).mean(axis=1, dtype=np.float64))


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
