"""The step functions of many cases, united at common thresholds and summed as often as each case occurs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from heatproof.records import Array

from .components import spread


@dataclass(frozen=True)
class Pooled:
    """What each case finds at thresholds common to all, the first of them above every heatmap.

    ``states`` (cases, 2 × rules, points): hits per rule, then false positives per rule. ``lesions`` and ``images``
    (cases,) are what they are shares of. A case that was not measured counts 0 throughout.
    """

    states: Array
    lesions: Array
    images: Array

    @classmethod
    def of(cls, measurements: Mapping[str, Array], rules: Sequence[str], counts: Array, points: int) -> Self:
        """The cases of measurements (cases, …) at no more than ``points`` thresholds, of those where a case steps.

        Only cases that occur in some row of ``counts`` (r, cases) decide them, as if there were no others.
        """
        values = {name: np.nan_to_num(each) for name, each in measurements.items()}
        names = [f"{rule}_{what}" for what in ("hits", "false_positives") for rule in rules]
        states = np.stack([values[name] for name in names], axis=1)
        deciding = (counts != 0).any(axis=0) & ~np.isnan(measurements["lesions"])
        steps = (np.diff(states, axis=2, prepend=0) != 0).any(axis=1)
        levels = np.unique(values["threshold"][deciding][steps[deciding]])[::-1]
        united = np.append(np.inf, levels[spread(len(levels), points) - 1])
        reached = np.count_nonzero(values["threshold"][:, :, None] >= united, axis=1)
        start = np.zeros((*states.shape[:2], 1))
        states = np.take_along_axis(np.concatenate([start, states], axis=2), reached[:, None], axis=2)
        return cls(states, values["lesions"], values["images"])

    def curves(self, counts: Array) -> tuple[Array, Array]:
        """False positives per image and sensitivity (r, rules, points) of each row of counts (r, cases); else NaN."""
        weights = counts.astype(np.float64)
        cases, both, points = self.states.shape
        sums = (weights @ self.states.reshape(cases, -1)).reshape(len(weights), both, points)
        hits, false = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore"):
            return false / (weights @ self.images)[:, None, None], hits / (weights @ self.lesions)[:, None, None]
