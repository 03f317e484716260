"""The free-response curve of candidate lists: those of a table, or the local maxima of heatmaps."""

from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.component import Location
from heatproof.metric import Case, Need
from heatproof.records import Array

from .candidates import count_at_least, matched
from .free_response import FreeResponse, FreeResponseParams, finite_heatmap, padded
from .lists import Candidates, of_sample, on_grid, peaks, read_candidates


class FrocCandidatesParams(FreeResponseParams):
    """Where candidates come from, which lesions they may hit, and where the curve is read; see the README.

    ``table`` is a file with the columns ``id``, ``x``, ``y`` (and ``z``) in native pixels, and ``score``; without it
    the candidates are the local maxima of the heatmap: at most ``most``, at least ``distance`` pixels apart.
    ``unlisted``: whether an image that the table does not list is refused or has no candidates. ``drop_lowest`` leaves
    out the lowest threshold where no lesion was missed, as the evaluation program of CAMELYON16 does. Every distinct
    score is a threshold; if there are more than ``points``, a geometric selection of them, dense at high scores.
    """

    table: Location | None = None
    unlisted: Literal["refuse", "empty"] = "refuse"
    distance: int = Field(5, ge=1, le=10_000)
    most: int = Field(50, ge=1, le=10_000)
    drop_lowest: bool = False
    points: int = Field(1000, ge=2, le=10_000)


class FrocCandidates(FreeResponse[FrocCandidatesParams]):
    """How many lesions do candidates hit, at how many false positives per image?

    A candidate is a point with a score; it hits the lesion in which it lies, of which further candidates do not count.
    All others are false positives. ``point`` is the mean sensitivity at 1/8 to 8 false positives per image. Images
    without lesions count as images.

    Ehteshami Bejnordi et al., "Diagnostic assessment of deep learning algorithms for detection of lymph node metastases
    in women with breast cancer", JAMA 318 (2017); rates: van Ginneken et al., "Comparing and combining algorithms for
    computer-aided detection of pulmonary nodules in computed tomography scans: the ANODE09 study", Medical Image
    Analysis 14 (2010).
    """

    primary = "point"
    rules = ("point",)

    @property
    def needs(self) -> frozenset[Need]:
        """Annotations; without a table also the heatmap."""
        if self.params.table is not None:
            return frozenset({"annotation"})
        return frozenset({"heatmap", "annotation"})

    @cached_property
    def _lists(self) -> dict[str, Candidates]:
        """The candidates of the table, by id."""
        assert self.params.table is not None
        return read_candidates(self.params.table)

    @cached_property
    def _most(self) -> int:
        """The most candidates of an image."""
        if self.params.table is None:
            return self.params.most
        return max((len(candidates.scores) for candidates in self._lists.values()), default=0)

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return the case's step function: ``threshold``, ``point_hits`` and ``point_false_positives`` (t,).

        All cases have the same number of steps: the last step is repeated. ``lesions`` and ``images`` are the
        denominators; with ``readers: each`` every reader counts as one image.
        """
        marked = self.marked(case)
        candidates, beside = self._candidates(case)
        scores = [matched(candidates.points, candidates.scores, reading.numbers) for reading in marked]
        best = np.concatenate([of_lesions for of_lesions, _ in scores])
        false_positives = np.concatenate([beside, *(of_none for _, of_none in scores), *[beside] * (len(marked) - 1)])
        return {
            **steps(best, false_positives, max(1, self._most)),
            "lesions": sum(reading.count for reading in marked),
            "images": len(marked),
        }

    def _candidates(self, case: Case) -> tuple[Candidates, Array]:
        """The candidates of a case on its grid, and the scores of those beside the grid."""
        if self.params.table is None:
            return peaks(finite_heatmap(case), self.params.distance, self.params.most), np.empty(0)
        return on_grid(of_sample(self._lists, case.sample, self.params.unlisted == "empty"), case.sample)

    def read(self, false_positives: Array, sensitivity: Array) -> tuple[Array, Array]:
        """Read the sensitivity (r, 1, rates) off curves (r, 1, points), and the share of extrapolation (r,)."""
        if self.params.drop_lowest:
            return super().read(*without_lowest(false_positives, sensitivity))
        return super().read(false_positives, sensitivity)


def steps(best: Array, false_positives: Array, length: int) -> dict[str, Array]:
    """Count at falling thresholds (length,) the hits and false positives of a case; the last step is repeated.

    ``best`` (l,) is the best score of each lesion, NaN for missed ones, ``false_positives`` (f,) are their scores.

    >>> {name: row.tolist() for name, row in steps(np.array([0.9, np.nan]), np.array([0.5, 0.9]), 3).items()}
    {'threshold': [0.9, 0.5, 0.5], 'point_hits': [1, 1, 1], 'point_false_positives': [1, 2, 2]}
    """
    hits = best[~np.isnan(best)]
    thresholds = np.unique(np.concatenate([hits, false_positives]))[::-1]
    if not len(thresholds):
        thresholds = np.zeros(1)
    counts = [count_at_least(scores, thresholds) for scores in (hits, false_positives)]
    rows = dict(zip(("threshold", "point_hits", "point_false_positives"), (thresholds, *counts)))
    return padded(rows, length)


def without_lowest(false_positives: Array, sensitivity: Array) -> tuple[Array, Array]:
    """Leave out the lowest threshold of each curve (r, 1, points) that reaches a sensitivity of 1.

    Its points are replaced by the one before.
    """
    last = ((false_positives == false_positives[..., -1:]) & (sensitivity == sensitivity[..., -1:]))[:, 0]
    points = np.arange(last.shape[1])
    limit = np.where(sensitivity[:, 0, -1] == 1, last.argmax(axis=1) - 1, points[-1])
    remaining = np.minimum(points, limit[:, None])[:, None]
    return np.take_along_axis(false_positives, remaining, 2), np.take_along_axis(sensitivity, remaining, 2)
