"""The free-response receiver operating characteristic of heatmaps: lesions found against false alarms per image."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array
from heatproof_lesions.readings import Readers, absent, readings

from .components import components, hottest
from .curve import RATES, Interpolation, extrapolated, sensitivity_at
from .pooled import Pooled
from .steps import RULES, Steps, lesions, steps

ROWS = 512
"""Resamples that are summarised at once: their curves stay in the processor's cache."""

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FrocParams(Params):
    """How candidates are cut out of a heatmap, when they hit, and where the curve is read; see the README."""

    findings: tuple[str, ...] | None = None
    readers: Readers = "union"
    covered: float = Field(0.5, ge=0, le=1)
    scale: Literal["value", "quantile"] = "value"
    thresholds: int = Field(50, ge=2)
    cover: float = Field(0.25, gt=0, le=1)
    connectivity: Literal[4, 8] = 8
    least_iou: float = Field(0.5, gt=0, le=1)
    rates: tuple[Rate, ...] = Field(RATES, min_length=1)
    interpolation: Interpolation = "linear"
    points: int = Field(128, ge=2)


class Froc(Metric[FrocParams]):
    """How many lesions do the hot regions of the heatmaps find, at how many false alarms per image?

    The regions at falling thresholds are candidates: one that hits a lesion finds it, any other is a false positive.
    ``overlap`` is the mean sensitivity at 1/8 to 8 false positives per image when sharing a pixel is a hit;
    ``centroid``, ``iou`` and ``peak`` are the same under stricter rules. Images without lesions count as images.

    González-Gonzalo et al., "Improving weakly-supervised lesion localization with iterative saliency map refinement",
    MIDL 2018; rates: van Ginneken et al., "Comparing and combining algorithms for computer-aided detection of
    pulmonary nodules in computed tomography scans: the ANODE09 study", Medical Image Analysis 14 (2010).
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "overlap"

    def measure(self, case: Case) -> dict[str, float | Array]:
        """The case's step function: ``threshold`` (t,) falling, hits and false positives per rule (t,).

        All cases have as many steps; the last one is repeated. ``lesions`` and ``images`` are what they are shares of:
        readers taken by themselves count as so many images.
        """
        settings, heatmap = self.params, _heatmap(case)
        found = readings(case.sample, settings.findings, settings.readers)
        if not any(found):
            raise Undefined(absent(case.sample, found))
        marked = [lesions(_union(each), settings.covered, settings.connectivity) for each in found]
        hot = hottest(heatmap, int(settings.cover * heatmap.size), settings.thresholds)
        regions = list(components(hot, heatmap.shape, settings.connectivity))
        total = reduce(add, [steps(hot, regions, each, settings.least_iou) for each in marked])
        levels = hot.thresholds if settings.scale == "value" else 1 - hot.reached / heatmap.size
        return {
            **self._filled(levels, total, heatmap),
            "lesions": sum(each.count for each in marked),
            "images": len(marked),
        }

    def _filled(self, levels: Array, total: Steps, heatmap: Array) -> dict[str, Array]:
        """The steps with the last one repeated; without any, one at the maximum where nothing is found."""
        if not len(levels):
            levels, total = np.array([heatmap.max()]), Steps(*np.zeros((2, len(RULES), 1)))
        filler = (0, self.params.thresholds - len(levels))
        named = {f"{rule}_hits": row for rule, row in zip(RULES, total.hits)}
        named |= {f"{rule}_false_positives": row for rule, row in zip(RULES, total.false_positives)}
        return {name: np.pad(row, filler, mode="edge") for name, row in ({"threshold": levels} | named).items()}

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Per rule the mean sensitivity (r,) and that at each rate (r, rates); of ``overlap`` also each rate (r,).

        ``extrapolated`` is the share of the rates beyond the last point of the ``overlap`` curve. All is NaN where a
        resample has no lesion.
        """
        pooled = Pooled.of(measurements, RULES, counts, self.params.points)
        parts = [self._read(*pooled.curves(part)) for part in np.array_split(counts, -(-len(counts) // ROWS))]
        read, beyond = (np.concatenate(each) for each in zip(*parts))
        curves = dict(zip(RULES, np.moveaxis(read, 1, 0)))
        return {
            **{rule: curve.mean(axis=1) for rule, curve in curves.items()},
            **{f"at_{rate:g}": column for rate, column in zip(self.params.rates, curves[self.primary].T)},
            "extrapolated": beyond,
            **{f"{rule}_curve": curve for rule, curve in curves.items()},
        }

    def _read(self, false_positives: Array, sensitivity: Array) -> tuple[Array, Array]:
        """The sensitivity (r, rules, rates) of curves (r, rules, points), and how much of it is carried on (r,)."""
        rates, undefined = self.params.rates, np.isnan(sensitivity).any(axis=(1, 2))
        read = sensitivity_at(false_positives, sensitivity, rates, self.params.interpolation)
        beyond = extrapolated(false_positives[:, RULES.index(self.primary)], rates)
        read[undefined], beyond[undefined] = np.nan, np.nan
        return read, beyond


def _union(reading: Mapping[str, Array]) -> Array:
    return np.asarray(np.maximum.reduce(list(reading.values())))


def _heatmap(case: Case) -> Array:
    assert case.heatmap is not None
    values, space = case.heatmap.values, case.sample.space
    if values.shape != space:
        raise DataError(f"froc compares on one grid; the heatmap is {values.shape}, the annotation {space}.")
    if not np.isfinite(values).all():
        raise DataError("froc cuts heatmaps at their values; this one is not finite.")
    return values
