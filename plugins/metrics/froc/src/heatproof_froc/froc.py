"""The free-response receiver operating characteristic of heatmaps: sensitivity over false positives per image."""

from collections.abc import Mapping
from functools import reduce
from math import floor
from operator import add
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.metric import Case
from heatproof.records import Array

from .components import components, hottest
from .free_response import FreeResponse, FreeResponseParams, finite_heatmap, padded
from .steps import RULES, Steps, steps


class FrocParams(FreeResponseParams):
    """How candidates are cut out of a heatmap, when they hit a lesion, and where the curve is read; see the README."""

    scale: Literal["value", "quantile"] = "value"
    thresholds: int = Field(50, ge=2, le=10_000)
    cover: float = Field(0.25, gt=0, le=1)
    least_iou: float = Field(0.5, gt=0, le=1)


class Froc(FreeResponse[FrocParams]):
    """How many lesions do the hot regions of heatmaps hit, at how many false positives per image?

    The regions at falling thresholds are candidates; a region that hits no lesion is a false positive. ``overlap`` is
    the mean sensitivity at 1/8 to 8 false positives per image, where a shared pixel is a hit; ``centroid``, ``iou`` and
    ``peak`` are the same under stricter rules. Images without lesions count as images.

    González-Gonzalo et al., "Improving weakly-supervised lesion localization with iterative saliency map refinement",
    MIDL 2018; rates: van Ginneken et al., "Comparing and combining algorithms for computer-aided detection of
    pulmonary nodules in computed tomography scans: the ANODE09 study", Medical Image Analysis 14 (2010).
    """

    revision = 2
    needs = frozenset({"heatmap", "annotation"})
    primary = "overlap"
    rules = RULES

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return the case's step function: ``threshold`` (t,) falling, hits and false positives per rule (t,).

        All cases have the same number of steps: the last step is repeated. ``lesions`` and ``images`` are the
        denominators; with ``readers: each`` every reader counts as one image.
        """
        params = self.params
        heatmap = finite_heatmap(case)
        per_reading = self.marked(case)
        # Rounded first: the product of floats for 0.29 of 100 is below 29.
        most = floor(round(params.cover * heatmap.size, 6))
        hot = hottest(heatmap, most, params.thresholds)
        regions = list(components(hot, heatmap.shape, params.connectivity))
        total = reduce(add, [steps(hot, regions, marked, params.least_iou) for marked in per_reading])
        thresholds = hot.thresholds
        if params.scale == "quantile":
            thresholds = 1 - hot.reached / heatmap.size
        return {
            **self._filled(thresholds, total, heatmap),
            "lesions": sum(marked.count for marked in per_reading),
            "images": len(per_reading),
        }

    def _filled(self, thresholds: Array, total: Steps, heatmap: Array) -> dict[str, Array]:
        """Repeat the last step; without steps there is one at the maximum, without hits or false positives."""
        if not len(thresholds):
            thresholds = np.array([heatmap.max()])
            total = Steps(*np.zeros((2, len(RULES), 1)))
        rows = {"threshold": thresholds}
        rows |= {f"{rule}_hits": row for rule, row in zip(RULES, total.hits)}
        rows |= {f"{rule}_false_positives": row for rule, row in zip(RULES, total.false_positives)}
        return padded(rows, self.params.thresholds)

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the ranks of the thresholds that are values; quantiles are on one scale already."""
        if self.params.scale == "quantile":
            return measurements
        return super().exchangeable(measurements)
