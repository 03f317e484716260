"""Combines the annotations of readers to one map per finding, for all readers together or for each reader."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from heatproof.records import Array, Sample

ANATOMY = frozenset({
    "optic_disc", "chest", "right_lung", "right_upper_lung_zone", "right_mid_lung_zone", "right_lower_lung_zone",
    "right_hilar_structures", "right_costophrenic_angle", "right_clavicle", "left_lung", "left_upper_lung_zone",
    "left_mid_lung_zone", "left_lower_lung_zone", "left_hilar_structures", "left_costophrenic_angle", "left_clavicle",
    "upper_mediastinum", "cardiac_silhouette", "trachea",
})  # fmt: skip
"""Findings that are not lesions (the optic disc; regions of EGD-CXR and REFLACX): used only where named explicitly."""

Findings = Annotated[tuple[str, ...], Field(min_length=1)]
"""The setting of a metric that selects findings, at least one."""

Readers = Literal["union", "majority", "mean", "each"]


def readings(
    sample: Sample, findings: Sequence[str] | None = None, readers: Readers = "union"
) -> list[dict[str, Array]]:
    """Finding → annotated share of each pixel (*space): one reading, or one reading per reader (``each``).

    Uses the named ``findings``, by default all findings but anatomy. Densities are ignored, for they have no outline.
    """
    maps = _maps_by_reader(sample, findings)
    if readers != "each":
        return [{finding: together(list(by_reader.values()), readers) for finding, by_reader in maps.items()}]
    names = dict.fromkeys(chain.from_iterable(maps.values()))
    return [{finding: by_reader[name] for finding, by_reader in maps.items() if name in by_reader} for name in names]


def _maps_by_reader(sample: Sample, findings: Sequence[str] | None) -> Mapping[str, Mapping[str, Array]]:
    """Finding → reader → the union of the reader's masks and boxes."""
    maps: dict[str, dict[str, Array]] = {}
    for annotation in sample.annotations:
        if annotation.kind == "density" or not _is_selected(annotation.finding, findings):
            continue
        by_reader = maps.setdefault(annotation.finding, {})
        values = annotation.values
        if annotation.reader in by_reader:
            values = np.maximum(by_reader[annotation.reader], values)
        by_reader[annotation.reader] = values
    return maps


def _is_selected(finding: str, findings: Sequence[str] | None) -> bool:
    if findings is None:
        return finding not in ANATOMY
    return finding in findings


def together(values: Sequence[Array], readers: Readers) -> Array:
    """Combine the maps (*space) of several readers: their mean, their union, or what more than half of them cover.

    Of fractional values, ``majority`` is the largest value that more than half of the readers reach in a pixel.
    """
    if len(values) == 1:
        return values[0]
    if readers == "mean":
        return np.asarray(np.stack(values).mean(axis=0, dtype=np.float64))
    union = np.asarray(np.maximum.reduce(values))
    if readers != "majority":
        return union
    # Most of an image is covered by nobody, and sorting is slow.
    shown = union > 0
    combined = np.zeros_like(union)
    combined[shown] = np.sort(np.stack([covered[shown] for covered in values]), axis=0)[-1 - len(values) // 2]
    return combined


def averaged(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each measure over the readings that define it; NaN where none does.

    >>> averaged([{"a": 1.0, "b": np.nan}, {"a": 2.0, "b": 3.0}])
    {'a': 1.5, 'b': 3.0}
    """
    if len(rows) == 1:
        return dict(rows[0])
    means = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        values = [row[name] for row in rows if not np.isnan(row.get(name, np.nan))]
        means[name] = np.nan
        if values:
            means[name] = float(np.mean(values))
    return means


def absent(sample: Sample, readings: Sequence[Mapping[str, Array]]) -> str:
    """State the reason why a sample has no annotated finding, given its readings."""
    findings = dict.fromkeys(chain.from_iterable(readings))
    if findings:
        return f"examined and absent: {', '.join(findings)}"
    if any(annotation.kind == "density" for annotation in sample.annotations):
        return "only densities are annotated, which have no outline"
    return "no finding was examined"
