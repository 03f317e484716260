"""Does a heatmap look where the readers of the image looked?"""

from collections.abc import Iterable, Mapping

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
    """Which densities are gaze, how several readers are taken together, and the settings of ``ecs`` and ``kl``."""

    finding: str = "gaze"
    readers: Readers = "mean"
    grid: int = Field(default=10, ge=1)
    top: int = Field(default=15, ge=1)
    epsilon: float = Field(default=1e-6, gt=0, lt=1)


class Gaze(Metric[GazeParams]):
    """Is a heatmap hot where radiologists looked?

    ``correlation`` (Pearson), ``kl`` (divergence of the gaze from the heat, lower is better), ``nss`` (the standardised
    heatmap at the fixations) and ``ecs`` (the share of the most looked-at cells that are among the hottest): Bylinskii
    et al., "What do different evaluation metrics tell us about saliency models?", IEEE Transactions on Pattern Analysis
    and Machine Intelligence 41 (2019). Every reader's map counts as one, however long he looked; ``nss`` takes all
    their fixations. ``ceiling_…`` is what a reader's own map reaches against the mean of the others.
    """

    needs = frozenset({"heatmap", "annotation"})
    primary = "correlation"
    opposite = frozenset({"kl", "ceiling_kl"})

    def measure(self, case: Case) -> dict[str, float]:
        """The four measures and their ceilings; NaN where one is undefined, and a ceiling with a single reader."""
        heatmap, maps = _heatmap(case), self._maps(case.sample)
        pixels = {reader: _pixels(case.sample, points) for reader, points in fixations_of(case.sample).items()}
        found = [self._scores(heatmap, density, places) for density, places in self._references(maps, pixels)]
        ceilings = [self._ceiling(reader, maps, pixels) for reader in maps if len(maps) > 1] or [UNDEFINED]
        return averaged(found) | {f"ceiling_{name}": value for name, value in averaged(ceilings).items()}

    def expected(self, measure: str) -> float | None:
        """0 for ``correlation`` and ``nss``, ``top`` of ``grid`` × ``grid`` cells for ``ecs``."""
        ecs_by_chance = min(1.0, self.params.top / self.params.grid**2)
        return {"correlation": 0.0, "nss": 0.0, "ecs": ecs_by_chance}.get(measure)

    def _maps(self, sample: Sample) -> dict[str, Array]:
        """Reader → map of sum 1; raises ``Undefined`` where there is none."""
        maps: dict[str, Array] = {}
        for mark in sample.annotations:
            if mark.finding == self.params.finding:
                maps[mark.reader] = maps.get(mark.reader, 0.0) + mark.values.astype(np.float64)
        if not maps:
            raise Undefined(f"no {self.params.finding} was recorded")
        seen = {reader: values / values.sum() for reader, values in maps.items() if values.any()}
        if not seen:
            raise Undefined(f"no {self.params.finding} lies on the image")
        return seen

    def _references(self, maps: Mapping[str, Array], pixels: Mapping[str, Array]) -> list[tuple[Array, Array]]:
        """The maps that the heatmap is held against, each with its fixations: of all readers, or of each."""
        if self.params.readers == "each":
            return [(density, pixels.get(reader, _nowhere(density))) for reader, density in maps.items()]
        density = together(list(maps.values()), self.params.readers)
        return [(density, _joined(density, pixels.values()))]

    def _ceiling(self, reader: str, maps: Mapping[str, Array], pixels: Mapping[str, Array]) -> dict[str, float]:
        """What a reader's map reaches as a heatmap against the mean of the others."""
        others = np.mean([density for other, density in maps.items() if other != reader], axis=0)
        places = [each for other, each in pixels.items() if other != reader]
        return self._scores(maps[reader], others, _joined(others, places))

    def _scores(self, heatmap: Array, density: Array, pixels: Array) -> dict[str, float]:
        if not np.isfinite(heatmap).all():
            return UNDEFINED
        mass, heat = (cells(values, self.params.grid) for values in (density, heatmap))
        values = (
            correlation(heatmap, density),
            divergence(density, heatmap, self.params.epsilon),
            scanpath(heatmap, pixels),
            ecs(mass, heat, self.params.top),
        )
        return dict(zip(MEASURES, values))


def _heatmap(case: Case) -> Array:
    assert case.heatmap is not None
    shape, space = case.heatmap.values.shape, case.sample.space
    if shape != space:
        raise DataError(f"gaze compares on one grid; the heatmap is {shape}, the annotation {space}.")
    return case.heatmap.values.astype(np.float64)


def _pixels(sample: Sample, points: Array) -> Array:
    """The pixels (n, d) of the sample's grid that hold native points (n, ≥ d); those beside the grid are left out."""
    axes = len(sample.space)
    affine = np.eye(axes + 1) if sample.geometry is None else sample.geometry.affine
    places = np.linalg.solve(affine[:-1, :-1], (points[:, :axes] - affine[:-1, -1]).T).T
    pixels = np.floor(places).astype(int)
    return np.asarray(pixels[((pixels >= 0) & (pixels < sample.space)).all(axis=1)])


def _nowhere(density: Array) -> Array:
    return np.zeros((0, density.ndim), dtype=int)


def _joined(density: Array, pixels: Iterable[Array]) -> Array:
    return np.concatenate([_nowhere(density), *pixels])
