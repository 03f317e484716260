"""Candidate lists: points with scores per image, from a table or from the local maxima of a heatmap."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from skimage.feature import peak_local_max

from heatproof.errors import DataError, near
from heatproof.records import Array, Sample
from heatproof_cohorts.tables import Row, read_rows

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class Candidates:
    """The pixels ``points`` (c, d) of the candidates of an image, rows before columns, and their ``scores`` (c,)."""

    points: Array
    scores: Array


def read_candidates(path: Path) -> dict[str, Candidates]:
    """Read a table with the columns ``id``, ``x``, ``y``, ``score``, and ``z`` for volumes: id → native pixels.

    A row without ``x``, ``y`` and ``score`` states that an image has no candidates. Raises ``DataError`` for values
    that are not numbers.
    """
    rows: dict[str, list[Row]] = {}
    for row in read_rows(path, ("id", "x", "y", "score"), ("z",)):
        rows.setdefault(row["id"], []).append(row)
    return {id: _candidates(entries) for id, entries in rows.items()}


def _candidates(rows: list[Row]) -> Candidates:
    filled = [row for row in rows if any(row[name] for name in ("x", "y", "z", "score"))]
    axes = AXES if any(row["z"] for row in filled) else AXES[1:]
    points = np.array([[_number(row, name) for name in axes] for row in filled]).reshape(-1, len(axes))
    return Candidates(points, np.array([_number(row, "score") for row in filled]))


def _number(row: Row, name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(f"{row.source}: {name} is {row[name]!r}; give a finite number, or leave the whole row empty.")
    return value


def of_sample(lists: Mapping[str, Candidates], sample: Sample, unlisted_is_empty: bool) -> Candidates:
    """Return the candidates of a sample as native pixels; raises ``DataError`` for a sample that is not listed."""
    axes = len(sample.space)
    if sample.id not in lists:
        if unlisted_is_empty:
            return Candidates(np.empty((0, axes)), np.empty(0))
        raise DataError(
            f"the table of candidates has no row for {sample.id}; {near(sample.id, list(lists))}. Give an image "
            "without candidates a row with nothing but its id, or set unlisted: empty."
        )
    candidates = lists[sample.id]
    if len(candidates.scores) and candidates.points.shape[1] != axes:
        raise DataError(
            f"the candidates of {sample.id} have {candidates.points.shape[1]} coordinates, its image {axes} axes; give "
            "z for volumes only."
        )
    return candidates


def on_grid(candidates: Candidates, sample: Sample) -> tuple[Candidates, Array]:
    """Move candidates from native pixels to the pixels of a sample's grid; also return the scores of those beside it.

    A candidate is the pixel that contains it: pixel i spans i to i + 1. Raises ``DataError`` for one outside the native
    image.
    """
    native = np.floor(candidates.points).astype(np.int64).reshape(len(candidates.scores), len(sample.space))
    shape = sample.space if sample.geometry is None else sample.geometry.native
    outside = ((native < 0) | (native >= shape)).any(axis=1)
    if outside.any():
        position = ", ".join(f"{value:g}" for value in candidates.points[outside][0][::-1])
        size = " × ".join(map(str, shape[::-1]))
        raise DataError(
            f"a candidate of {sample.id} at ({position}) lies outside its image of {size} pixels (x first, from 0)."
        )
    pixels = native
    if sample.geometry is not None:
        affine = sample.geometry.affine
        pixels = np.floor(np.linalg.solve(affine[:-1, :-1], (native + 0.5 - affine[:-1, -1]).T).T).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < sample.space)).all(axis=1)
    return Candidates(pixels[inside], candidates.scores[inside]), candidates.scores[~inside]


def peaks(heatmap: Array, distance: int, most: int) -> Candidates:
    """Return the hottest local maxima of a heatmap (*space), at most ``most``, at least ``distance`` pixels apart.

    A constant heatmap has none.
    """
    local_maxima: Any = peak_local_max
    points: Array = local_maxima(heatmap, min_distance=distance, exclude_border=False, num_peaks=most)
    return Candidates(points, heatmap[tuple(points.T)].astype(np.float64))
