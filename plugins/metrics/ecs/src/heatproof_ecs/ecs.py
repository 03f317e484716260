"""The Explainability Consistency Score of a heatmap against expert lesion masks."""

from collections.abc import Iterable, Mapping
from itertools import product
from math import fsum
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array, Sample
from heatproof_lesions.agreement import Partition, Ties, cells, ecs
from heatproof_lesions.readings import Readers, absent, averaged, readings

Cells = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EcsParams(Params):
    """Grid and top cells as in Van Craenendonck et al. 2020 (S = 10, K = 15); lesion weights counted or given.

    ``grids`` and ``tops`` ask for ``combined`` at further numbers of cells, to see how much hangs on the choice.
    """

    grid: Cells = 10
    top: Cells = 15
    grids: tuple[Cells, ...] = ()
    tops: tuple[Cells, ...] = ()
    readers: Readers = "union"
    partition: Partition = "area"
    ties: Ties = "expected"
    weights: Literal["masks"] | Mapping[str, Weight] = "masks"
    findings: tuple[str, ...] | None = None


class Ecs(Metric[EcsParams]):
    """Do the hottest cells of a heatmap lie where most of the lesions lie?

    Heatmap and weighted lesion mass are summed over a grid; the score is the share of the cells with most lesion mass
    that are among the hottest ones. ``combined`` weighs each lesion type by its rarity; each type also has a score of
    its own, NaN where the image shows none of it. A random heatmap is expected to reach top / grid². Densities, such as
    gaze, are no lesions and do not count.

    Van Craenendonck et al., "Systematic comparison of heatmapping techniques in deep learning in the context of
    diabetic retinopathy lesion detection", Translational Vision Science & Technology 9 (2020).
    """

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
            for finding, mask in readings(sample, self.params.findings)[0].items():
                masses.setdefault(finding, []).append(float(mask.sum(dtype=np.float64)))
        totals = {finding: total for finding, each in masses.items() if (total := fsum(each)) > 0}
        if not totals:
            raise DataError("no mask has any mass to weigh lesions by")
        return self.with_(weights={finding: max(totals.values()) / total for finding, total in totals.items()})

    def measure(self, case: Case) -> dict[str, float]:
        """``combined`` and every examined finding's own score, each in [0, 1] or NaN; with ``each``, the readers' mean.

        At a further number of cells ``combined`` is called ``combined S=8 K=10``.
        """
        found, values = readings(case.sample, self.params.findings, self.params.readers), _values(case)
        rows = [self._reading(values, reading) for reading in found if any(mask.any() for mask in reading.values())]
        if not rows:
            raise Undefined(absent(case.sample, found))
        return averaged(rows)

    def expected(self, measure: str) -> float:
        """``top`` of ``grid`` x ``grid`` cells, whatever the annotation."""
        grid, top = self._variants().get(measure, (self.params.grid, self.params.top))
        return min(1.0, top / grid**2)

    def _variants(self) -> dict[str, tuple[int, int]]:
        """The further measures, each with its grid and its top cells."""
        chosen = self.params.grid, self.params.top
        crossed = product((chosen[0], *self.params.grids), (chosen[1], *self.params.tops))
        return {f"combined S={grid} K={top}": (grid, top) for grid, top in crossed if (grid, top) != chosen}

    def _reading(self, values: Array, reading: Mapping[str, Array]) -> dict[str, float]:
        """The scores of a heatmap on what one reading marked."""
        grids = {grid: self._cells(values, reading, grid) for grid in (self.params.grid, *self.params.grids)}
        heatmap, lesions = grids[self.params.grid]
        row = {name: self._score(mass, heatmap) for name, mass in lesions.items()}
        for name, (grid, top) in self._variants().items():
            heatmap, lesions = grids[grid]
            row[name] = ecs(lesions["combined"], heatmap, top, self.params.ties)
        return row

    def _cells(self, values: Array, reading: Mapping[str, Array], grid: int) -> tuple[Array, dict[str, Array]]:
        """The sums over the cells of a grid: of the heatmap, and of the lesions together (weighed) and each."""
        lesions = {finding: cells(mask, grid, self.params.partition) for finding, mask in reading.items()}
        weighed = [self._weight(finding) * mass for finding, mass in lesions.items() if mass.any()]
        return cells(values, grid, self.params.partition), {"combined": np.sum(weighed, axis=0), **lesions}

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

    def _score(self, annotation: Array, heatmap: Array) -> float:
        return ecs(annotation, heatmap, self.params.top, self.params.ties)


def _values(case: Case) -> Array:
    assert case.heatmap is not None
    shape, space = case.heatmap.values.shape, case.sample.space
    if shape != space:
        raise DataError(f"ecs compares on one grid; the heatmap is {shape}, the annotation {space}.")
    return case.heatmap.values
