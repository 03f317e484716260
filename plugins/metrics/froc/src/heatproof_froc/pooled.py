"""The step functions of many cases at common thresholds, summed over the cases of each resample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from heatproof.records import Array

from .components import geometric_ranks


@dataclass(frozen=True)
class Pooled:
    """The hits and false positives of each case at thresholds common to all, the first above every heatmap.

    ``states`` (cases, 2 × rules, points) holds the hits per rule, then the false positives per rule. ``lesions`` and
    ``images`` (cases,) are the denominators. A case that was not measured is 0 everywhere.
    """

    states: Array
    lesions: Array
    images: Array

    @classmethod
    def from_measurements(
        cls, measurements: Mapping[str, Array], rules: Sequence[str], counts: Array, points: int
    ) -> Self:
        """Pool measurements (cases, …) at no more than ``points`` of the thresholds at which some case steps.

        Only cases that occur in some row of ``counts`` (r, cases) determine the thresholds.
        """
        values = {name: np.nan_to_num(array) for name, array in measurements.items()}
        names = [f"{rule}_hits" for rule in rules] + [f"{rule}_false_positives" for rule in rules]
        states = np.stack([values[name] for name in names], axis=1)
        occurring = (counts != 0).any(axis=0) & ~np.isnan(measurements["lesions"])
        steps = (np.diff(states, axis=2, prepend=0) != 0).any(axis=1)
        thresholds = np.unique(values["threshold"][occurring][steps[occurring]])[::-1]
        common = np.append(np.inf, thresholds[geometric_ranks(len(thresholds), points) - 1])
        reached = np.stack([np.searchsorted(-row, -common, side="right") for row in values["threshold"]])
        start = np.zeros((*states.shape[:2], 1))
        states = np.take_along_axis(np.concatenate([start, states], axis=2), reached[:, None], axis=2)
        return cls(states, values["lesions"], values["images"])

    def curves(self, counts: Array) -> tuple[Array, Array]:
        """Compute false positives per image and sensitivity (r, rules, points) for counts (r, cases); NaN for 0 / 0."""
        weights = counts.astype(np.float64)
        cases, rows, points = self.states.shape
        sums = (weights @ self.states.reshape(cases, -1)).reshape(len(weights), rows, points)
        hits, false = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore"):
            return false / (weights @ self.images)[:, None, None], hits / (weights @ self.lesions)[:, None, None]
