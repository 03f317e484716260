"""Intersection over union of the lesions with the hot pixels of a heatmap, or with a box around them."""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import find_objects, generate_binary_structure, label

from heatproof.records import Array

from .localization import Localization, MaskParams, cut, mask

Threshold = Literal["share", "maximum", "range", "absolute"]


class IouParams(MaskParams):
    """Hot pixels are the hottest ``share``, or those that reach a share of the ``maximum`` or an ``absolute`` value.

    With ``range`` they reach a share of the way from the least to the greatest value. ``level`` is this share or value.
    With ``shape: box`` the hot pixels are replaced by the box around their largest connected region.
    """

    threshold: Threshold = "share"
    level: float = Field(0.05, gt=0, le=1e30)
    shape: Literal["pixels", "box"] = "pixels"

    @model_validator(mode="after")
    def _level_is_a_share(self) -> Self:
        if self.threshold != "absolute" and self.level > 1:
            raise ValueError(f"level is a share for the threshold {self.threshold!r}: it must be at most 1")
        return self


class Iou(Localization[IouParams]):
    """How large is the intersection of hot pixels and lesions, as a share of their union? (mIoU is its mean)

    Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine Intelligence 4
    (2022); the box around the largest hot region: Zhou et al., "Learning deep features for discriminative
    localization", CVPR 2016.
    """

    revision = 2

    def area(self, coverage: Array) -> Array:
        """Return the mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute intersection over union per mask (m,)."""
        hot_pixels = hot(heatmap, self.params.threshold, self.params.level)
        return iou(self._shaped(hot_pixels), areas)

    def human_scores(self, coverage: Array, areas: Array) -> Array:
        """Compute intersection over union of a reader's mask with each mask (m,)."""
        return iou(self._shaped(mask(coverage, self.params.covered)), areas)

    def _shaped(self, pixels: Array) -> Array:
        """The pixels (*space) in [0, 1] themselves, or the box around the largest region of those above 0."""
        return box(pixels > 0) if self.params.shape == "box" else pixels

    def chance(self, area: Array) -> dict[str, float]:
        """Return nothing: the expected value has no closed form."""
        return {}


def hot(heatmap: Array, threshold: Threshold, level: float) -> Array:
    """Compute how much each pixel counts as hot (*space), in [0, 1]; tied pixels share the last ranks as fractions.

    A heatmap without positive values has no hot pixels by a share of its maximum, a constant one none by its range.

    >>> hot(np.array([4, 2, 2, 0]), "share", 0.5).tolist(), hot(np.array([4, 2, 2, 0]), "maximum", 0.5).tolist()
    ([1.0, 0.5, 0.5, 0.0], [1.0, 1.0, 1.0, 0.0])
    """
    if threshold == "share":
        # Rounded first: the product of floats for 0.575 of 100 is below 57.5.
        last, share = cut(heatmap, max(1, round(round(level * heatmap.size, 6))))
        return np.asarray((heatmap > last) + share * (heatmap == last))
    if threshold == "absolute":
        return np.asarray(heatmap >= level, dtype=np.float64)
    if threshold == "range":
        # In double precision, so that level 1 is the maximum itself.
        floor = float(heatmap.min())
        height = float(heatmap.max()) - floor
        return np.asarray((heatmap >= floor + level * height) & (height > 0), dtype=np.float64)
    least = level * heatmap.max()
    return np.asarray((heatmap >= least) & (least > 0), dtype=np.float64)


def box(hot_pixels: Array) -> Array:
    """Fill the box (*space) bool around the largest (of equals, first) connected region; diagonals connect."""
    regions, count = label(hot_pixels, generate_binary_structure(hot_pixels.ndim, hot_pixels.ndim))
    filled = np.zeros(hot_pixels.shape, dtype=bool)
    if count:
        largest = int(np.bincount(regions.ravel())[1:].argmax())
        filled[find_objects(regions)[largest]] = True
    return filled


def iou(hot_pixels: Array, areas: Array) -> Array:
    """Compute intersection over union (m,) of hot pixels (*space) in [0, 1] with masks (m, *space) bool.

    >>> iou(np.array([1.0, 1.0, 0.0]), np.array([[False, True, True]])).round(3).tolist()
    [0.333]
    """
    shared = np.array([hot_pixels[area].sum(dtype=np.float64) for area in areas])
    sizes = np.array([np.count_nonzero(area) for area in areas])
    return np.asarray(shared / (hot_pixels.sum(dtype=np.float64) + sizes - shared))
