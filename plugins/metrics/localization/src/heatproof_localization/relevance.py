"""Relevance mass and relevance rank: the shares of the heat, and of the hottest pixels, that lie on lesions."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from heatproof.records import Array

from .localization import Localization, LocalizationParams, MaskParams, cut, mask

Sign = Literal["positive", "signed", "absolute"]

SIGNS: Mapping[Sign, Callable[[Array], Array]] = {
    "positive": lambda heatmap: np.maximum(heatmap, 0),
    "signed": lambda heatmap: heatmap,
    "absolute": np.abs,
}
"""The relevance of a heatmap under each sign."""


class RelevanceMassParams(LocalizationParams):
    """``positive`` relevance only, ``signed`` (the share may then lie outside [0, 1]), or ``absolute`` values."""

    sign: Sign = "positive"


class RelevanceMass(Localization[RelevanceMassParams]):
    """The share of all relevance that lies on lesions; a pixel counts by its marked share.

    The expected score of a random heatmap, ``chance``, is the marked share of the image.

    Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 81 (2022).
    """

    def scores(self, heatmap: Array, areas: Array) -> Array:
        """Compute the share of the relevance that lies in each area (m,); NaN without relevance."""
        return relevance_mass(heatmap, areas, self.params.sign)

    def chance(self, area: Array) -> dict[str, float]:
        """Return the marked share of the image; nothing for ``signed`` relevance, which has no closed form."""
        if self.params.sign == "signed":
            return {}
        return super().chance(area)


class RelevanceRank(Localization[MaskParams]):
    """Of the k hottest pixels, the share that lies in a mask of k pixels.

    Pixels tied for the last ranks share them evenly. The expected score of a random heatmap, ``chance``, is the share
    of the image that the mask covers.

    Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 81 (2022).
    """

    def area(self, coverage: Array) -> Array:
        """Return the mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array) -> Array:
        """Compute the share of the hottest pixels that lie in each mask (m,)."""
        return relevance_rank(heatmap, areas)


def relevance_mass(heatmap: Array, areas: Array, sign: Sign = "positive") -> Array:
    """Compute the share (m,) of a heatmap's relevance (*space) that lies in each area (m, *space); NaN for 0 / 0.

    >>> relevance_mass(np.array([3.0, 1.0, -2.0]), np.array([[1, 0, 0], [0, 0.5, 0.5]])).tolist()
    [0.75, 0.125]
    """
    relevance = SIGNS[sign](heatmap).ravel()
    total = relevance.sum(dtype=np.float64)
    if total == 0:
        return np.full(len(areas), np.nan)
    return np.asarray(np.einsum("mi,i->m", areas.reshape(len(areas), -1), relevance, dtype=np.float64) / total)


def relevance_rank(heatmap: Array, areas: Array) -> Array:
    """Compute per mask (m, *space) bool of k pixels the share (m,) of a heatmap's k hottest pixels (*space) in it.

    >>> relevance_rank(np.array([3, 1, 1, 0]), np.array([[True, True, False, False]])).tolist()
    [0.75]
    """
    return np.array([_rank(heatmap, area) for area in areas])


def _rank(heatmap: Array, area: Array) -> float:
    inside = heatmap[area]
    last, share = cut(heatmap, len(inside))
    return float(np.count_nonzero(inside > last) + share * np.count_nonzero(inside == last)) / len(inside)
