"""Intersection over union of the hot pixels of a heatmap, or of a box round them, with the lesions."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import find_objects, generate_binary_structure, label

from heatproof.records import Array

from .localization import Localization, MaskParams, cut, mask

Threshold = Literal["share", "maximum", "absolute"]


class IouParams(MaskParams):
    """Hot is the hottest ``share`` of the pixels, or what reaches a share of the ``maximum`` or an ``absolute`` value.

    ``level`` is that share or value. With ``shape: box`` the hot pixels are replaced by the box round the largest
    region of connected ones.
    """

    threshold: Threshold = "share"
    level: float = Field(0.05, gt=0, allow_inf_nan=False)
    shape: Literal["pixels", "box"] = "pixels"

    @model_validator(mode="after")
    def _level_is_a_share(self) -> Self:
        if self.threshold != "absolute" and self.level > 1:
            raise ValueError(f"level is a share for the threshold {self.threshold!r}: it must be at most 1")
        return self


class Iou(Localization[IouParams]):
    """How much do the hot pixels and the lesions have in common, of all that is either?

    Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine Intelligence 4
    (2022); the box round the largest hot region: Zhou et al., "Learning deep features for discriminative
    localization", CVPR 2016.
    """

    def area(self, coverage: Array) -> Array:
        """The mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array) -> Array:
        """Intersection over union per mask (m,)."""
        chosen = hot(heatmap, self.params.threshold, self.params.level)
        return iou(box(chosen > 0) if self.params.shape == "box" else chosen, areas)

    def chance(self, area: Array) -> dict[str, float]:
        """Nothing: it is not known in closed form."""
        return {}


def hot(heatmap: Array, threshold: Threshold, level: float) -> Array:
    """How hot each pixel counts (*space) in [0, 1]; a fraction only where pixels are tied for the last places.

    A heatmap without positive values has no maximum to take a share of, hence no hot pixels.

    >>> hot(np.array([4, 2, 2, 0]), "share", 0.5).tolist(), hot(np.array([4, 2, 2, 0]), "maximum", 0.5).tolist()
    ([1.0, 0.5, 0.5, 0.0], [1.0, 1.0, 1.0, 0.0])
    """
    if threshold == "share":
        last, share = cut(heatmap, max(1, round(level * heatmap.size)))
        return np.asarray((heatmap > last) + share * (heatmap == last))
    least = level * heatmap.max() if threshold == "maximum" else level
    return np.asarray((heatmap >= least) & (threshold == "absolute" or least > 0), dtype=np.float64)


def box(chosen: Array) -> Array:
    """The box (*space) bool round the largest region of connected pixels, diagonals included; the first of equals."""
    regions, count = label(chosen, generate_binary_structure(chosen.ndim, chosen.ndim))
    drawn = np.zeros(chosen.shape, dtype=bool)
    if count:
        largest = int(np.bincount(regions.ravel())[1:].argmax())
        drawn[find_objects(regions)[largest]] = True
    return drawn


def iou(chosen: Array, areas: Array) -> Array:
    """Intersection over union of hot pixels (*space) in [0, 1] with each of several masks (m, *space) bool: (m,).

    >>> iou(np.array([1.0, 1.0, 0.0]), np.array([[False, True, True]])).round(3).tolist()
    [0.333]
    """
    shared = np.array([chosen[area].sum(dtype=np.float64) for area in areas])
    sizes = np.array([np.count_nonzero(area) for area in areas])
    return np.asarray(shared / (chosen.sum(dtype=np.float64) + sizes - shared))
