"""The pointing game: does the hottest pixel of a heatmap lie on a lesion?"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from scipy.ndimage import distance_transform_edt

from heatproof.records import Array

from .localization import Localization, MaskParams, mask


class PointingParams(MaskParams):
    """The hottest pixel may miss the mask by less than ``tolerance`` pixels; 0: it must lie in the mask."""

    tolerance: float = Field(0, ge=0, le=10_000)


class Pointing(Localization[PointingParams]):
    """Does the hottest pixel lie on a lesion, or less than ``tolerance`` pixels away from it? (hit rate)

    With several hottest pixels the score is the share that hits. The expected score of a random heatmap, ``chance``, is
    the share of the image that counts as a hit.

    Zhang et al., "Top-down neural attention by excitation backprop", International Journal of Computer Vision 126
    (2018).
    """

    def area(self, coverage: Array) -> Array:
        """Return the mask and the pixels less than ``tolerance`` away from it (*space) bool."""
        return widened(mask(coverage, self.params.covered), self.params.tolerance)

    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute the share of the hottest pixels that hit, per area (m,)."""
        return pointing(heatmap, areas)

    def human_scores(self, coverage: Array, areas: Array) -> Array:
        """Compute the share of the points, or of the pixels of a mask, that hit, per area (m,)."""
        return pointing(mask(coverage, self.params.covered), areas)


def pointing(heatmap: Array, areas: Array) -> Array:
    """Compute the share (m,) of the hottest pixels of a heatmap (*space) that lie in each area (m, *space) bool.

    >>> pointing(np.array([3, 1, 3]), np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)).tolist()
    [0.5, 0.0]
    """
    hottest = np.flatnonzero(heatmap == heatmap.max())
    return np.asarray(areas.reshape(len(areas), -1)[:, hottest].mean(axis=1))


def widened(area: Array, tolerance: float) -> Array:
    """Add to an area (*space) bool every pixel less than ``tolerance`` pixels, by their centres, away from it.

    >>> widened(np.array([True, False, False]), 2).tolist()
    [True, True, False]
    """
    if tolerance == 0 or not area.any():
        return area
    return np.asarray(distance_transform_edt(~area) < tolerance)
