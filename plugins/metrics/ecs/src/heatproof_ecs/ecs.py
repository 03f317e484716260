"""The Explainability Consistency Score of a heatmap against expert lesion masks."""

from collections.abc import Collection, Iterable, Mapping
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
from heatproof_lesions.readings import Findings, Readers, absent, averaged, readings

Side = Annotated[int, Field(ge=1, le=1000)]
Cells = Annotated[int, Field(ge=1, le=1_000_000)]
Weight = Annotated[float, Field(gt=0, le=1e12)]


PUBLISHED: Mapping[str, float] = {
    "haemorrhages": 1.0, "hard_exudates": 1.05, "soft_exudates": 5.77, "microaneurysms": 46.97,
}  # fmt: skip
"""The weights that Van Craenendonck et al. 2020 print; IDRiD's masks give others."""


class EcsParams(Params):
    """Grid and top cells as in Van Craenendonck et al. 2020 (S = 10, K = 15), and the lesion weights.

    ``weights`` are counted from the ``masks`` of the tuning split, those ``published`` for lesions of diabetic
    retinopathy, or listed per finding. ``grids`` and ``tops`` add ``combined`` at further numbers of cells, which shows
    how much the score depends on them.
    """

    grid: Side = 10
    top: Cells = 15
    grids: Annotated[tuple[Side, ...], Field(max_length=20)] = ()
    tops: Annotated[tuple[Cells, ...], Field(max_length=20)] = ()
    readers: Readers = "union"
    partition: Partition = "area"
    ties: Ties = "expected"
    weights: Literal["masks", "published"] | Annotated[Mapping[str, Weight], Field(min_length=1)] = "masks"
    findings: Findings | None = None


class Ecs(Metric[EcsParams]):
    """Do the hottest cells of a heatmap lie where most of the lesions lie?

    Heatmap and weighted lesion mass are summed over a grid; the score is the share of the cells with most lesion mass
    that are among the hottest ones. ``combined`` weights each finding by its rarity; each finding also has its own
    score, NaN where the image shows none of it. A random heatmap is expected to reach top / grid². Densities, such as
    gaze, are no lesions and do not count.

    Van Craenendonck et al., "Systematic comparison of heatmapping techniques in deep learning in the context of
    diabetic retinopathy lesion detection", Translational Vision Science & Technology 9 (2020).
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "combined"

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings and those with a listed weight."""
        weights = self.params.weights
        listed = () if isinstance(weights, str) else weights
        return {"findings": (*(self.params.findings or ()), *listed)}

    @property
    def open(self) -> tuple[str, ...]:
        """``weights`` while they still have to be counted from masks."""
        if self.params.weights == "masks":
            return ("weights",)
        return ()

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Set each finding's weight to the lesion mass of the commonest finding over that of the finding itself.

        A finding without any mass in the prepared samples gets no weight, and ``measure`` refuses a case that shows it.
        """
        if not self.open:
            return self
        masses: dict[str, list[float]] = {}
        for sample in samples:
            for finding, mask in readings(sample, self.params.findings)[0].items():
                masses.setdefault(finding, []).append(float(mask.sum(dtype=np.float64)))
        totals = {finding: fsum(values) for finding, values in masses.items()}
        weights = {finding: max(totals.values()) / total for finding, total in totals.items() if total > 0}
        if not weights:
            raise DataError("ecs: all masks are empty, so there is no lesion mass to count weights from")
        return self.with_(weights=weights)

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``combined`` and the score of every examined finding, in [0, 1] or NaN; with ``each``, readers' means.

        At a further number of cells ``combined`` is called, for example, ``combined S=8 K=10``.
        """
        annotations = readings(case.sample, self.params.findings, self.params.readers)
        heatmap = _heatmap(case)
        rows = [self._row(heatmap, masks) for masks in annotations if any(mask.any() for mask in masks.values())]
        if not rows:
            raise Undefined(absent(case.sample, annotations))
        return averaged(rows)

    def cells(self, heatmap: Array, masks: Mapping[str, Array], grid: int) -> tuple[Array, dict[str, Array]]:
        """Sum a heatmap (h, w) and masks (finding → (h, w)) over the cells of a grid, each (grid, grid).

        ``combined`` among the sums is that of all findings by weight, which ``measure`` compares with the heatmap.
        """
        lesions = {finding: cells(mask, grid, self.params.partition) for finding, mask in masks.items()}
        weighted = [self._weight(finding) * mass for finding, mass in lesions.items() if mass.any()]
        return cells(heatmap, grid, self.params.partition), {"combined": np.sum(weighted, axis=0), **lesions}

    def expected(self, measure: str) -> float:
        """Return ``top`` over ``grid²``, whatever the annotation."""
        grid, top = self._variants().get(measure, (self.params.grid, self.params.top))
        return min(1.0, top / grid**2)

    def _variants(self) -> dict[str, tuple[int, int]]:
        """Map each further measure to its grid and its top cells."""
        primary = (self.params.grid, self.params.top)
        pairs = product((self.params.grid, *self.params.grids), (self.params.top, *self.params.tops))
        return {f"combined S={grid} K={top}": (grid, top) for grid, top in pairs if (grid, top) != primary}

    def _row(self, heatmap: Array, masks: Mapping[str, Array]) -> dict[str, float]:
        """Score a heatmap on the masks of one reading."""
        grids = {grid: self.cells(heatmap, masks, grid) for grid in (self.params.grid, *self.params.grids)}
        heat, lesions = grids[self.params.grid]
        row = {name: ecs(mass, heat, self.params.top, self.params.ties) for name, mass in lesions.items()}
        for name, (grid, top) in self._variants().items():
            heat, lesions = grids[grid]
            row[name] = ecs(lesions["combined"], heat, top, self.params.ties)
        return row

    def _weight(self, finding: str) -> float:
        weights = PUBLISHED if self.params.weights == "published" else self.params.weights
        if weights == "masks":
            raise DataError("ecs: the lesion weights are not counted yet; fit them on the tuning split or list them.")
        if finding not in weights:
            raise DataError(
                f"ecs has no weight for {finding!r}, which this case shows (only for {', '.join(weights)}); add one to "
                "weights, or leave it out of findings."
            )
        return weights[finding]


def _heatmap(case: Case) -> Array:
    assert case.heatmap is not None
    heatmap = case.heatmap.values
    space = case.sample.space
    if heatmap.shape != space:
        raise DataError(f"ecs compares on one grid; the heatmap is {heatmap.shape}, the annotation {space}.")
    return heatmap
