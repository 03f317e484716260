"""Free-response curves: the pooled step functions of cases, read at some numbers of false positives per image."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array
from heatproof_lesions.readings import Findings, Readers, absent, readings

from .curve import RATES, Interpolation, extrapolated, sensitivity_at
from .pooled import Pooled
from .steps import Lesions, lesions

ROWS = 512
"""Resamples per block: few enough for their curves to stay in the processor's cache."""

Rate = Annotated[float, Field(gt=0, le=1e6)]


class FreeResponseParams(Params):
    """Which lesions there are, and where the curve is read; see the README."""

    findings: Findings | None = None
    readers: Readers = "union"
    covered: float = Field(0.5, ge=0, le=1)
    connectivity: Literal[4, 8] = 8
    rates: tuple[Rate, ...] = Field(RATES, min_length=1, max_length=1000)
    interpolation: Interpolation = "linear"
    points: int = Field(128, ge=2, le=10_000)


P = TypeVar("P", bound=FreeResponseParams, covariant=True)


class FreeResponse(Metric[P]):
    """The sensitivity of one or more hit rules at some numbers of false positives per image.

    A case measures its step function: ``threshold`` (t,) falling, and per rule ``…_hits`` and ``…_false_positives``
    (t,); ``lesions`` and ``images`` are the denominators.
    """

    rules: tuple[str, ...] = ()

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings."""
        return {"findings": self.params.findings or ()}

    def marked(self, case: Case) -> list[Lesions]:
        """List the lesions of each reading of a case; raises ``Undefined`` if nothing was examined."""
        params = self.params
        annotations = readings(case.sample, params.findings, params.readers)
        if not any(annotations):
            raise Undefined(absent(case.sample, annotations))
        united = (np.asarray(np.maximum.reduce(list(masks.values()))) for masks in annotations)
        return [lesions(coverage, params.covered, params.connectivity) for coverage in united]

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute per rule the mean sensitivity (r,) and that at each rate (r, rates).

        ``at_…`` is the sensitivity of the primary rule at one rate (r,); ``extrapolated`` is the share of the rates
        beyond the last point of its curve. All are NaN where a resample has no lesion.
        """
        pooled = Pooled.from_measurements(measurements, self.rules, counts, self.params.points)
        blocks = [self.read(*pooled.curves(block)) for block in np.array_split(counts, -(-len(counts) // ROWS))]
        sensitivity = np.concatenate([block for block, _ in blocks])
        beyond = np.concatenate([block for _, block in blocks])
        curves = dict(zip(self.rules, np.moveaxis(sensitivity, 1, 0)))
        return {
            **{rule: curve.mean(axis=1) for rule, curve in curves.items()},
            **{f"at_{rate:g}": column for rate, column in zip(self.params.rates, curves[self.primary].T)},
            "extrapolated": beyond,
            **{f"{rule}_curve": curve for rule, curve in curves.items()},
        }

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the ranks of the thresholds in place of their values."""
        thresholds = measurements["threshold"]
        return {**measurements, "threshold": rankdata(thresholds, nan_policy="omit").reshape(thresholds.shape)}

    def read(self, false_positives: Array, sensitivity: Array) -> tuple[Array, Array]:
        """Read the sensitivity (r, rules, rates) off curves (r, rules, points), and the share of extrapolation (r,)."""
        at_rates = sensitivity_at(false_positives, sensitivity, self.params.rates, self.params.interpolation)
        beyond = extrapolated(false_positives[:, self.rules.index(self.primary)], self.params.rates)
        undefined = np.isnan(sensitivity).any(axis=(1, 2))
        at_rates[undefined] = np.nan
        beyond[undefined] = np.nan
        return at_rates, beyond


def padded(rows: Mapping[str, Array], length: int) -> dict[str, Array]:
    """Repeat the last step of a case's step function, as all cases have the same number of steps (length,)."""
    return {name: np.pad(row, (0, length - len(row)), mode="edge") for name, row in rows.items()}


def finite_heatmap(case: Case) -> Array:
    """Return the heatmap (*space); raises ``DataError`` if it is not finite, or not on the grid of its sample."""
    assert case.heatmap is not None
    heatmap = case.heatmap.values
    space = case.sample.space
    if heatmap.shape != space:
        raise DataError(f"froc compares on one grid; the heatmap is {heatmap.shape}, the annotation {space}.")
    if not np.isfinite(heatmap).all():
        raise DataError("froc needs a finite heatmap to cut at its values; this one is not finite.")
    return heatmap
