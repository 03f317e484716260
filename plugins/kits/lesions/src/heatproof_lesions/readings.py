"""What the readers of a sample marked: one map of coverage per finding, for all readers together or for each."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from heatproof.records import Array, Sample

ANATOMY = frozenset({
    "optic_disc", "chest", "right_lung", "right_upper_lung_zone", "right_mid_lung_zone", "right_lower_lung_zone",
    "right_hilar_structures", "right_costophrenic_angle", "right_clavicle", "left_lung", "left_upper_lung_zone",
    "left_mid_lung_zone", "left_lower_lung_zone", "left_hilar_structures", "left_costophrenic_angle", "left_clavicle",
    "upper_mediastinum", "cardiac_silhouette", "trachea",
})  # fmt: skip
"""Findings that are no lesions (the optic disc; what EGD-CXR and REFLACX outline): taken only if asked for by name."""

Readers = Literal["union", "majority", "mean", "each"]


def readings(
    sample: Sample, findings: Sequence[str] | None = None, readers: Readers = "union"
) -> list[dict[str, Array]]:
    """Finding → share of each pixel that is marked (*space): one reading, or one per reader where ``each``.

    All findings but anatomy unless ``findings`` names them. Masks and boxes only: a density has no outline.
    """
    marks = _marks(sample, findings)
    if readers != "each":
        return [{finding: together(list(each.values()), readers) for finding, each in marks.items()}]
    names = dict.fromkeys(reader for each in marks.values() for reader in each)
    return [{finding: each[name] for finding, each in marks.items() if name in each} for name in names]


def _marks(sample: Sample, findings: Sequence[str] | None) -> Mapping[str, Mapping[str, Array]]:
    """Finding → reader → the union of what he marked, his boxes among them."""
    marks: dict[str, dict[str, Array]] = {}
    for annotation in sample.annotations:
        wanted = annotation.finding not in ANATOMY if findings is None else annotation.finding in findings
        if wanted and annotation.kind != "density":
            own = marks.setdefault(annotation.finding, {})
            earlier = own.get(annotation.reader)
            values = annotation.values
            own[annotation.reader] = values if earlier is None else np.maximum(earlier, values)
    return marks


def together(values: Sequence[Array], readers: Readers) -> Array:
    """The readers' maps (*space) as one; ``majority`` is what more than half of them cover, or reach."""
    if len(values) == 1:
        return values[0]
    stacked = np.stack(values)
    if readers == "mean":
        return np.asarray(stacked.mean(axis=0, dtype=np.float64))
    place = len(values) // 2 if readers == "majority" else 0
    return np.asarray(np.sort(stacked, axis=0)[-1 - place])


def averaged(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure over the readings that define it.

    >>> averaged([{"a": 1.0, "b": np.nan}, {"a": 2.0, "b": 3.0}])
    {'a': 1.5, 'b': 3.0}
    """
    if len(rows) == 1:
        return dict(rows[0])
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if row.get(name, np.nan) == row.get(name, np.nan)] for name in names}
    return {name: float(np.mean(each)) if each else np.nan for name, each in values.items()}


def absent(sample: Sample, found: Sequence[Mapping[str, Array]]) -> str:
    """Why there is nothing to find in a sample, in words."""
    looked = dict.fromkeys(finding for reading in found for finding in reading)
    if looked:
        return f"looked for and absent: {', '.join(looked)}"
    if any(annotation.kind == "density" for annotation in sample.annotations):
        return "only densities are annotated, which have no outline"
    return "no finding was examined"
