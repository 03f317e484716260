"""The free-response receiver operating characteristic of heatmaps: sensitivity over false positives per image."""

from collections.abc import Collection, Mapping
from functools import reduce
from math import floor
from operator import add
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array
from heatproof_lesions.readings import Findings, Readers, absent, readings

from .components import components, hottest
from .curve import RATES, Interpolation, extrapolated, sensitivity_at
from .pooled import Pooled
from .steps import RULES, Steps, lesions, steps

ROWS = 512
"""Resamples per block: few enough for their curves to stay in the processor's cache."""

Rate = Annotated[float, Field(gt=0, le=1e6)]


class FrocParams(Params):
    """How candidates are cut out of a heatmap, when they hit a lesion, and where the curve is read; see the README."""

    findings: Findings | None = None
    readers: Readers = "union"
    covered: float = Field(0.5, ge=0, le=1)
    scale: Literal["value", "quantile"] = "value"
    thresholds: int = Field(50, ge=2, le=10_000)
    cover: float = Field(0.25, gt=0, le=1)
    connectivity: Literal[4, 8] = 8
    least_iou: float = Field(0.5, gt=0, le=1)
    rates: tuple[Rate, ...] = Field(RATES, min_length=1, max_length=1000)
    interpolation: Interpolation = "linear"
    points: int = Field(128, ge=2, le=10_000)


class Froc(Metric[FrocParams]):
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

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings."""
        return {"findings": self.params.findings or ()}

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return the case's step function: ``threshold`` (t,) falling, hits and false positives per rule (t,).

        All cases have the same number of steps: the last step is repeated. ``lesions`` and ``images`` are the
        denominators; with ``readers: each`` every reader counts as one image.
        """
        params = self.params
        heatmap = _heatmap(case)
        annotations = readings(case.sample, params.findings, params.readers)
        if not any(annotations):
            raise Undefined(absent(case.sample, annotations))
        per_reading = [lesions(_union(masks), params.covered, params.connectivity) for masks in annotations]
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
        padding = (0, self.params.thresholds - len(thresholds))
        return {name: np.pad(row, padding, mode="edge") for name, row in rows.items()}

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute per rule the mean sensitivity (r,) and that at each rate (r, rates).

        ``at_…`` is the sensitivity of ``overlap`` at one rate (r,); ``extrapolated`` is the share of the rates beyond
        the last point of the ``overlap`` curve. All are NaN where a resample has no lesion.
        """
        pooled = Pooled.from_measurements(measurements, RULES, counts, self.params.points)
        blocks = [self._read(*pooled.curves(block)) for block in np.array_split(counts, -(-len(counts) // ROWS))]
        sensitivity = np.concatenate([block for block, _ in blocks])
        beyond = np.concatenate([block for _, block in blocks])
        curves = dict(zip(RULES, np.moveaxis(sensitivity, 1, 0)))
        return {
            **{rule: curve.mean(axis=1) for rule, curve in curves.items()},
            **{f"at_{rate:g}": column for rate, column in zip(self.params.rates, curves[self.primary].T)},
            "extrapolated": beyond,
            **{f"{rule}_curve": curve for rule, curve in curves.items()},
        }

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the ranks of the thresholds that are values; quantiles are on one scale already."""
        if self.params.scale == "quantile":
            return measurements
        thresholds = measurements["threshold"]
        return {**measurements, "threshold": rankdata(thresholds, nan_policy="omit").reshape(thresholds.shape)}

    def _read(self, false_positives: Array, sensitivity: Array) -> tuple[Array, Array]:
        """Read the sensitivity (r, rules, rates) off curves (r, rules, points), and the share of extrapolation (r,)."""
        at_rates = sensitivity_at(false_positives, sensitivity, self.params.rates, self.params.interpolation)
        beyond = extrapolated(false_positives[:, RULES.index(self.primary)], self.params.rates)
        undefined = np.isnan(sensitivity).any(axis=(1, 2))
        at_rates[undefined] = np.nan
        beyond[undefined] = np.nan
        return at_rates, beyond


def _union(masks: Mapping[str, Array]) -> Array:
    return np.asarray(np.maximum.reduce(list(masks.values())))


def _heatmap(case: Case) -> Array:
    assert case.heatmap is not None
    heatmap = case.heatmap.values
    space = case.sample.space
    if heatmap.shape != space:
        raise DataError(f"froc compares on one grid; the heatmap is {heatmap.shape}, the annotation {space}.")
    if not np.isfinite(heatmap).all():
        raise DataError("froc needs a finite heatmap to cut at its values; this one is not finite.")
    return heatmap
