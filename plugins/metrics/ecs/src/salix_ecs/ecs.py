"""The Explainability Consistency Score of a heatmap against expert lesion masks."""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from salix.component import Params
from salix.errors import DataError
from salix.metric import Case, Metric, Undefined
from salix.readings import ANATOMY
from salix.records import Array, Sample

from .agreement import Partition, Ties, cells, ecs

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EcsParams(Params):
    """Grid and top cells as in paper 000 (S = 10, K = 15); lesion weights counted from the masks or given."""

    grid: int = Field(10, ge=1)
    top: int = Field(15, ge=1)
    partition: Partition = "area"
    ties: Ties = "expected"
    weights: Literal["masks"] | Mapping[str, Weight] = "masks"
    findings: tuple[str, ...] | None = None


class Ecs(Metric):
    """Do the hottest cells of a heatmap lie where most of the lesions lie?

    Heatmap and weighted lesion mass are summed over a grid; the score is the share of the cells with most lesion mass
    that are among the hottest ones. ``combined`` weighs each lesion type by its rarity; each type also has a score of
    its own, NaN where the image shows none of it. A random heatmap is expected to reach top / grid².

    Van Craenendonck et al., "Systematic comparison of heatmapping techniques in deep learning in the context of
    diabetic retinopathy lesion detection", Translational Vision Science & Technology 9 (2020).
    """

    Params = EcsParams
    params: EcsParams
    needs = frozenset({"heatmap", "annotation"})
    primary = "combined"

    @property
    def open(self) -> tuple[str, ...]:
        """The weights, until they are counted from masks."""
        return ("weights",) if self.params.weights == "masks" else ()

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Weights from the lesion mass of prepared samples: that of the commonest finding over each finding's own.

        A finding without any mass gets no weight; a case that shows it is refused later.
        """
        if not self.open:
            return self
        masses: dict[str, list[float]] = {}
        for sample in samples:
            for finding, mask in self._masks(sample).items():
                masses.setdefault(finding, []).append(float(mask.sum(dtype=np.float64)))
        totals = {finding: total for finding, each in masses.items() if (total := fsum(each)) > 0}
        if not totals:
            raise DataError("ecs cannot count lesion weights: no mask has any mass; give weights in the config.")
        return self.with_(weights={finding: max(totals.values()) / total for finding, total in totals.items()})

    def measure(self, case: Case) -> dict[str, float]:
        """``combined`` and every examined finding's own score, each in [0, 1] or NaN."""
        lesions = {finding: self._cells(mask) for finding, mask in self._masks(case.sample).items()}
        if not any(mass.any() for mass in lesions.values()):
            raise Undefined(_reason(lesions))
        heatmap = self._cells(_values(case))
        return {name: self._score(mass, heatmap) for name, mass in (self._combined(lesions) | lesions).items()}

    def expected(self, measure: str) -> float:
        """``top`` of ``grid`` x ``grid`` cells, whatever the annotation."""
        return min(1.0, self.params.top / self.params.grid**2)

    def _masks(self, sample: Sample) -> dict[str, Array]:
        listed = self.params.findings
        if listed is None:
            listed = tuple(name for name in sample.findings() if name not in ANATOMY)
        return {name: mask for name in listed if (mask := sample.mask(name)) is not None}

    def _combined(self, lesions: Mapping[str, Array]) -> dict[str, Array]:
        present = {finding: mass for finding, mass in lesions.items() if mass.any()}
        return {"combined": np.sum([self._weight(finding) * mass for finding, mass in present.items()], axis=0)}

    def _weight(self, finding: str) -> float:
        weights = self.params.weights
        if weights == "masks":
            raise DataError("ecs: the lesion weights are not counted yet; fit them on the tuning split or give them.")
        if finding not in weights:
            raise DataError(
                f"ecs has no weight for {finding!r}, which this case shows; give one in weights, or leave it out with "
                f"findings (weights are there for {', '.join(weights)})."
            )
        return weights[finding]

    def _cells(self, values: Array) -> Array:
        return cells(values, self.params.grid, self.params.partition)

    def _score(self, annotation: Array, heatmap: Array) -> float:
        return ecs(annotation, heatmap, self.params.top, self.params.ties)


def _values(case: Case) -> Array:
    assert case.heatmap is not None
    shape, space = case.heatmap.values.shape, case.sample.space
    if shape != space:
        raise DataError(f"ecs compares on one grid; the heatmap is {shape}, the annotation {space}.")
    return case.heatmap.values


def _reason(lesions: Mapping[str, Array]) -> str:
    return f"looked for and absent: {', '.join(lesions)}" if lesions else "no finding was examined"
