"""What the readers of a sample marked: one map of coverage per finding, for all readers together or for each."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from .records import Array, Sample

ANATOMY = frozenset({"optic_disc"})
"""Findings that are no lesions: taken only where they are asked for by name."""

Readers = Literal["union", "majority", "mean", "each"]


def readings(
    sample: Sample, findings: Sequence[str] | None = None, readers: Readers = "union"
) -> list[dict[str, Array]]:
    """Finding → share of each pixel that is marked (*space): one reading, or one per reader where ``each``.

    All findings but anatomy unless ``findings`` names them. Masks and boxes only: a density has no outline.
    """
    marks = _marks(sample, findings)
    if readers != "each":
        return [{finding: _together(list(each.values()), readers) for finding, each in marks.items()}]
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


def _together(values: Sequence[Array], readers: Readers) -> Array:
    """The readers' maps as one; ``majority`` is what more than half of them cover."""
    if len(values) == 1:
        return values[0]
    stacked = np.stack(values)
    if readers == "mean":
        return np.asarray(stacked.mean(axis=0, dtype=np.float64))
    place = len(values) // 2 if readers == "majority" else 0
    return np.asarray(np.sort(stacked, axis=0)[-1 - place])


def absent(sample: Sample, found: Sequence[Mapping[str, Array]]) -> str:
    """Why there is nothing to find in a sample, in words."""
    looked = dict.fromkeys(finding for reading in found for finding in reading)
    if looked:
        return f"looked for and absent: {', '.join(looked)}"
    if any(annotation.kind == "density" for annotation in sample.annotations):
        return "only densities are annotated, which have no outline"
    return "no finding was examined"
