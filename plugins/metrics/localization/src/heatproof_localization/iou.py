"""Intersection over union of the lesions with the hot pixels of a heatmap, or with a box around them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import find_objects, generate_binary_structure, label

from heatproof.errors import DataError, Undefined
from heatproof.metric import Case
from heatproof.records import Array

from .localization import COMBINED, Localization, MaskParams, cut, mask

Threshold = Literal["share", "maximum", "range", "absolute"]
Level = Annotated[float, Field(gt=0, le=1e30)]
Levels = Annotated[tuple[Level, ...], Field(min_length=1, max_length=1000)]


class IouParams(MaskParams):
    """Hot pixels are the hottest ``share``, or those that reach a share of the ``maximum`` or an ``absolute`` value.

    With ``range`` they reach a share of the way from the least to the greatest value. ``level`` is this share or value,
    for all findings or by finding and for ``combined``; ``tuned`` takes, for each explainer and finding, that of
    ``levels`` with the largest mean score on the tuning split. With ``shape: box`` the hot pixels are replaced by the
    box around their largest connected region.
    """

    threshold: Threshold = "share"
    level: Literal["tuned"] | Level | Annotated[Mapping[str, Level], Field(min_length=1)] = 0.05
    levels: Levels = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    shape: Literal["pixels", "box"] = "pixels"

    @model_validator(mode="after")
    def _levels_are_shares(self) -> Self:
        if self.threshold != "absolute" and any(level > 1 for level in self._all_levels()):
            raise ValueError(f"level is a share for the threshold {self.threshold!r}: it must be at most 1")
        if isinstance(self.level, Mapping) and COMBINED not in self.level:
            raise ValueError(f"level lists no value for {COMBINED!r}, all findings together: add one")
        return self

    def _all_levels(self) -> Iterator[float]:
        """The listed levels, and those that tuning tries."""
        if isinstance(self.level, Mapping):
            yield from self.level.values()
        elif isinstance(self.level, float):
            yield self.level
        else:
            yield from self.levels


class Iou(Localization[IouParams]):
    """How large is the intersection of hot pixels and lesions, as a share of their union? (mIoU is its mean)

    Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine Intelligence 4
    (2022), who tune the threshold by finding (``threshold: range, level: tuned``); the box around the largest hot
    region: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
    """

    revision = 2

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the selected findings and those with a listed level, and the reader of the human benchmark."""
        names = super().names()
        findings = [finding for finding in self._listed if finding != COMBINED]
        return {**names, "findings": [*names["findings"], *findings]}

    @cached_property
    def _listed(self) -> Mapping[str, float]:
        """The levels by finding, where they are listed or tuned."""
        return self.params.level if isinstance(self.params.level, Mapping) else {}

    @property
    def untuned(self) -> tuple[str, ...]:
        """``level`` while it still has to be tuned."""
        return ("level",) if self.params.level == "tuned" else ()

    def tune(self, cases: Iterable[Case]) -> Self:
        """Set the level of each finding, and of all together, to that with the largest mean score, or the least such.

        A finding that no case shows gets no level, and ``measure`` refuses a case that shows it.
        """
        if not self.untuned:
            return self
        levels = sorted(self.params.levels)
        metrics = [self.with_(level=level) for level in levels]
        scores: dict[str, list[list[float]]] = {}
        for case in cases:
            for name, values in _by_measure(metrics, case).items():
                if not np.isnan(values).any():
                    scores.setdefault(name, []).append(values)
        if not scores:
            raise DataError(f"{self.short}: no case shows a finding, so there is nothing to tune level on")
        return self.with_(level={name: levels[int(np.mean(rows, axis=0).argmax())] for name, rows in scores.items()})

    def area(self, coverage: Array) -> Array:
        """Return the mask (*space) bool."""
        return mask(coverage, self.params.covered)

    def scores(self, heatmap: Array, areas: Array, names: Sequence[str]) -> Array:
        """Compute intersection over union per mask (m,)."""
        levels = [self._level(name) for name in names]
        shaped = {level: self._shaped(hot(heatmap, self.params.threshold, level)) for level in {*levels}}
        return np.concatenate([iou(shaped[level], area[None]) for level, area in zip(levels, areas)])

    def _level(self, name: str) -> float:
        """The level of a finding, or of all together."""
        level = self.params.level
        if level == "tuned":
            raise DataError(
                f"{self.short}: level is not tuned yet; tune it on the tuning split, or list it by finding."
            )
        if not isinstance(level, Mapping):
            return level
        if name not in level:
            raise DataError(
                f"{self.short} has no level for {name!r}, which this case shows (only for {', '.join(level)}); add one "
                "to level, or leave the finding out of findings."
            )
        return level[name]

    def human_scores(self, coverage: Array, areas: Array) -> Array:
        """Compute intersection over union of a reader's mask with each mask (m,)."""
        return iou(self._shaped(mask(coverage, self.params.covered)), areas)

    def _shaped(self, pixels: Array) -> Array:
        """The pixels (*space) in [0, 1] themselves, or the box around the largest region of those above 0."""
        return box(pixels > 0) if self.params.shape == "box" else pixels

    def chance(self, area: Array) -> dict[str, float]:
        """Return nothing: the expected value has no closed form."""
        return {}


def _by_measure(metrics: Sequence[Iou], case: Case) -> dict[str, list[float]]:
    """The values of a case by the metrics, of all findings together and of each; none where they are undefined."""
    try:
        rows = [metric.measure(case) for metric in metrics]
    except Undefined:
        return {}
    names = {COMBINED: None} | {annotation.finding: None for annotation in case.sample.annotations}
    return {name: [row[name] for row in rows] for name in names if name in rows[0]}


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
