"""The agreement of a heatmap with the gaze of the image's readers."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.metric import Case, Metric, Undefined
from heatproof.records import Array, Sample
from heatproof_eyetracking.gaze import fixations_of
from heatproof_lesions.agreement import cells, ecs
from heatproof_lesions.readings import Readers, averaged, together

from .likeness import correlation, divergence, scanpath

MEASURES = ("correlation", "kl", "nss", "ecs")
UNDEFINED = dict.fromkeys(MEASURES, float("nan"))


class GazeParams(Params):
    """Which densities are gaze, how readers are combined, and the settings of ``ecs`` and ``kl``."""

    finding: str = "gaze"
    readers: Readers = "mean"
    grid: int = Field(default=10, ge=1, le=1000)
    top: int = Field(default=15, ge=1, le=1_000_000)
    epsilon: float = Field(default=1e-6, gt=0, lt=1)


class Gaze(Metric[GazeParams]):
    """Is a heatmap hot where radiologists looked?

    ``correlation`` (Pearson), ``kl`` (divergence of the gaze from the heat, lower is better), ``nss`` (the standardised
    heatmap at the fixations) and ``ecs`` (the share of the most looked-at cells that are among the hottest): Bylinskii
    et al., "What do different evaluation metrics tell us about saliency models?", IEEE Transactions on Pattern Analysis
    and Machine Intelligence 41 (2019). Every reader's map is scaled to sum 1, however long the reader looked; ``nss``
    uses the fixations of all readers. ``ceiling_…`` is the score of a reader's map against the mean of the others.
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "correlation"
    opposite = frozenset({"kl", "ceiling_kl"})

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the finding, if it was named: datasets without gaze are excluded, not refused."""
        return {"findings": {self.params.finding} - {GazeParams.model_fields["finding"].default}}

    def measure(self, case: Case) -> dict[str, float]:
        """Return the four measures and their ceilings; NaN where undefined, as ceilings are with a single reader."""
        heatmap = _heatmap(case)
        maps = self._maps(case.sample)
        pixels = {reader: _pixels(case.sample, points) for reader, points in fixations_of(case.sample).items()}
        scores = [self._scores(heatmap, density, fixations) for density, fixations in self._references(maps, pixels)]
        ceilings = [UNDEFINED]
        if len(maps) > 1:
            ceilings = [self._ceiling(reader, maps, pixels) for reader in maps]
        return averaged(scores) | {f"ceiling_{name}": value for name, value in averaged(ceilings).items()}

    def expected(self, measure: str) -> float | None:
        """Return 0 for ``correlation`` and ``nss``, ``top`` over ``grid²`` for ``ecs``, None for other measures."""
        ecs_by_chance = min(1.0, self.params.top / self.params.grid**2)
        return {"correlation": 0.0, "nss": 0.0, "ecs": ecs_by_chance}.get(measure)

    def _maps(self, sample: Sample) -> dict[str, Array]:
        """Map each reader to a density of sum 1; raises ``Undefined`` where there is none."""
        durations: dict[str, Array] = {}
        for annotation in sample.annotations:
            if annotation.finding == self.params.finding:
                values = annotation.values.astype(np.float64)
                durations[annotation.reader] = durations.get(annotation.reader, 0.0) + values
        if not durations:
            raise Undefined(f"no {self.params.finding} was recorded")
        maps = {reader: values / values.sum() for reader, values in durations.items() if values.any()}
        if not maps:
            raise Undefined(f"no {self.params.finding} lies on the image")
        return maps

    def _references(self, maps: Mapping[str, Array], pixels: Mapping[str, Array]) -> list[tuple[Array, Array]]:
        """List the maps to compare the heatmap with, and their fixations: of all readers together, or of each."""
        if self.params.readers == "each":
            return [(density, pixels.get(reader, _no_pixels(density))) for reader, density in maps.items()]
        density = together(list(maps.values()), self.params.readers)
        return [(density, _joined(density, pixels.values()))]

    def _ceiling(self, reader: str, maps: Mapping[str, Array], pixels: Mapping[str, Array]) -> dict[str, float]:
        """Score a reader's map, used as a heatmap, against the mean of the others."""
        density = np.mean([values for other, values in maps.items() if other != reader], axis=0)
        fixations = [values for other, values in pixels.items() if other != reader]
        return self._scores(maps[reader], density, _joined(density, fixations))

    def _scores(self, heatmap: Array, density: Array, pixels: Array) -> dict[str, float]:
        if not np.isfinite(heatmap).all():
            return UNDEFINED
        mass = cells(density, self.params.grid)
        heat = cells(heatmap, self.params.grid)
        return {
            "correlation": correlation(heatmap, density),
            "kl": divergence(density, heatmap, self.params.epsilon),
            "nss": scanpath(heatmap, pixels),
            "ecs": ecs(mass, heat, self.params.top),
        }


def _heatmap(case: Case) -> Array:
    assert case.heatmap is not None
    shape = case.heatmap.values.shape
    space = case.sample.space
    if shape != space:
        raise DataError(f"gaze compares on one grid; the heatmap is {shape}, the annotation {space}.")
    return case.heatmap.values.astype(np.float64)


def _pixels(sample: Sample, points: Array) -> Array:
    """Find the pixels (n, d) of the sample's grid at native points (n, ≥ d); points outside the grid are left out."""
    axes = len(sample.space)
    affine = np.eye(axes + 1)
    if sample.geometry is not None:
        affine = sample.geometry.affine
    positions = np.linalg.solve(affine[:-1, :-1], (points[:, :axes] - affine[:-1, -1]).T).T
    pixels = np.floor(positions).astype(int)
    return np.asarray(pixels[((pixels >= 0) & (pixels < sample.space)).all(axis=1)])


def _no_pixels(density: Array) -> Array:
    return np.zeros((0, density.ndim), dtype=int)


def _joined(density: Array, pixels: Iterable[Array]) -> Array:
    return np.concatenate([_no_pixels(density), *pixels])
