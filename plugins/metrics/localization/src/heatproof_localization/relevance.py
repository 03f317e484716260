"""Relevance mass and relevance rank: how much of the heat, and of the hottest pixels, lies on the lesions."""

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
"""What of a heatmap counts as relevance."""


class RelevanceMassParams(LocalizationParams):
    """``positive`` relevance only, ``signed`` (then the share may leave [0, 1]), or its ``absolute`` size."""

    sign: Sign = "positive"


class RelevanceMass(Localization[RelevanceMassParams]):
    """The share of all positive relevance that lies on lesions; a pixel counts by the share of it that is marked.

    A random heatmap is expected to reach the share of the image that is marked, measured as ``chance``.

    Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 81 (2022).
    """

    def scores(self, heatmap: Array, areas: Array) -> Array:
        """The share of the relevance that lies in each area (m,); NaN where there is none."""
        return relevance_mass(heatmap, areas, self.params.sign)

    def chance(self, area: Array) -> dict[str, float]:
        """The share of the image that is marked; not known in closed form for ``signed`` relevance."""
        return {} if self.params.sign == "signed" else super().chance(area)


class RelevanceRank(Localization[MaskParams]):
    """As many of the hottest pixels as the mask has pixels: the share of them that lies in the mask.

    Pixels tied for the last places share them evenly. A random heatmap is expected to reach the share of the image
    that the mask covers, measured as ``chance``.

    Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 81 (2022).
    """

    def area(self, coverage: Array) -> Array:
        """The mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array) -> Array:
        """The share of the hottest pixels that lie in each mask (m,)."""
        return relevance_rank(heatmap, areas)


def relevance_mass(heatmap: Array, areas: Array, sign: Sign = "positive") -> Array:
    """The share of the relevance of a heatmap (*space) that lies in each area (m, *space): (m,); NaN where it is 0 / 0.

    >>> relevance_mass(np.array([3.0, 1.0, -2.0]), np.array([[1, 0, 0], [0, 0.5, 0.5]])).tolist()
    [0.75, 0.125]
    """
    relevance = SIGNS[sign](heatmap).ravel()
    total = relevance.sum(dtype=np.float64)
    if total == 0:
        return np.full(len(areas), np.nan)
    return np.asarray(np.einsum("mi,i->m", areas.reshape(len(areas), -1), relevance, dtype=np.float64) / total)


def relevance_rank(heatmap: Array, areas: Array) -> Array:
    """Of the k hottest pixels of a heatmap (*space) the share in a mask of k pixels, per mask (m, *space) bool: (m,).

    >>> relevance_rank(np.array([3, 1, 1, 0]), np.array([[True, True, False, False]])).tolist()
    [0.75]
    """
    return np.array([_rank(heatmap, area) for area in areas])


def _rank(heatmap: Array, area: Array) -> float:
    inside = heatmap[area]
    last, share = cut(heatmap, len(inside))
    return float(np.count_nonzero(inside > last) + share * np.count_nonzero(inside == last)) / len(inside)
