"""Relevance mass and relevance rank: the shares of the heat, and of the hottest pixels, that lie on lesions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.errors import DataError
from heatproof.records import Array

from .localization import Localization, LocalizationParams, MaskParams, cut, mask, relative

Sign = Literal["positive", "signed", "absolute"]

SIGNS: Mapping[Sign, Callable[[Array], Array]] = {
    "positive": lambda heatmap: np.maximum(heatmap, 0),
    "signed": lambda heatmap: heatmap,
    "absolute": np.abs,
}
"""The relevance of a heatmap under each sign."""


class RelevanceMassParams(LocalizationParams):
    """``positive`` relevance only, ``signed`` (the share may then lie outside [0, 1]), or ``absolute`` values.

    ``weighted`` divides the share by the marked share of the image, so that small lesions count as much as large ones.
    """

    sign: Sign = "positive"
    weighted: bool = False


class RelevanceMass(Localization[RelevanceMassParams]):
    """The share of all relevance that lies on lesions (attribution localisation); a pixel counts by its marked share.

    The expected score of a random heatmap, ``chance``, is the marked share of the image, and 1 if ``weighted``.

    Relevance mass accuracy: Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of
    neural network explanations", Information Fusion 81 (2022); attribution localisation, also ``weighted``: Kohlbrenner
    et al., "Towards best practice in explaining neural network decisions with LRP", IJCNN 2020.
    """

    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute the share of the relevance that lies in each area (m,); NaN without relevance."""
        shares = relevance_mass(heatmap, areas, self.params.sign)
        return relative(shares, areas) if self.params.weighted else shares

    def chance(self, area: Array) -> dict[str, float]:
        """Return the marked share of the image; nothing for ``signed`` relevance, which has no closed form."""
        if self.params.sign == "signed":
            return {}
        return {"chance": 1.0} if self.params.weighted else super().chance(area)


class RelevanceRankParams(MaskParams):
    """How many of the hottest pixels count: ``top``, or as many as the mask has (None).

    ``weighted`` divides the share by that of the image which the mask covers: the influence of a concept.
    """

    top: int | None = Field(None, ge=1, le=10**9)
    weighted: bool = False


class RelevanceRank(Localization[RelevanceRankParams]):
    """Of the k hottest pixels, the share that lies in a mask of k pixels, or of any size (top-k intersection).

    Pixels tied for the last ranks share them evenly. The expected score of a random heatmap, ``chance``, is the share
    of the image that the mask covers, and 1 if ``weighted``.

    Relevance rank accuracy: Arras, Osman and Samek, "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of
    neural network explanations", Information Fusion 81 (2022); a fixed ``top``, and ``weighted``: Theiner,
    Müller-Budack and Ewerth, "Interpretable semantic photo geolocation", WACV 2022.
    """

    def area(self, coverage: Array) -> Array:
        """Return the mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute the share of the hottest pixels that lie in each mask (m,)."""
        top = self.params.top
        if top is not None and top >= heatmap.size:
            raise DataError(f"{self.short} counts the {top} hottest pixels; the heatmap has {heatmap.size}: lower top.")
        shares = relevance_rank(heatmap, areas, top)
        return relative(shares, areas) if self.params.weighted else shares

    def chance(self, area: Array) -> dict[str, float]:
        """Return the share of the image that the mask covers, or 1."""
        return {"chance": 1.0} if self.params.weighted else super().chance(area)


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


def relevance_rank(heatmap: Array, areas: Array, top: int | None = None) -> Array:
    """Compute per mask (m, *space) bool the share (m,) of a heatmap's hottest pixels (*space) that lie in it.

    These are the ``top`` hottest pixels, or as many as the mask has.

    >>> heatmap = np.array([3, 1, 1, 0])
    >>> areas = np.array([[True, True, False, False]])
    >>> relevance_rank(heatmap, areas).tolist(), relevance_rank(heatmap, areas, 1).tolist()
    ([0.75], [1.0])
    """
    return np.array([_rank(heatmap, area, top) for area in areas])


def _rank(heatmap: Array, area: Array, top: int | None) -> float:
    inside = heatmap[area]
    count = top or len(inside)
    last, share = cut(heatmap, count)
    return float(np.count_nonzero(inside > last) + share * np.count_nonzero(inside == last)) / count
