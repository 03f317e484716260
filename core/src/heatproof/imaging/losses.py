"""Annotated mass that a preparation loses: what lies outside the grid, or outside the field of view on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..records import Annotation, Array, Geometry, Sample

EXTRA = "outside_field"
"""The extra of a prepared sample with its losses."""
NOTICED = 0.01
"""A larger share of a finding's mass is said beside every table."""

Losses = Mapping[str, Sequence[float]]
"""Finding → its annotated mass, and the part of it outside the field, both in pixels of the native image."""


def losses(native: Sample, prepared: Sample) -> Losses:
    """The annotated mass of each finding, and the part outside the field; empty without the area of a pixel.

    Masses are sums over the annotations of all readers.
    """
    area = _pixel_area(prepared.geometry) / (_pixel_area(native.geometry) or 1)
    if not area:
        return {}
    masses = {finding: _mass(native.annotations, finding, None) for finding in native.findings()}
    return {
        finding: (mass, max(0.0, mass - area * _mass(prepared.annotations, finding, prepared.field)))
        for finding, mass in masses.items()
        if mass
    }


def with_losses(native: Sample, prepared: Sample) -> Sample:
    """The prepared sample with its losses as the extra ``outside_field``, if any finding is annotated."""
    lost = losses(native, prepared)
    if not lost:
        return prepared
    return replace(prepared, extras={**prepared.extras, EXTRA: dict(lost)})


def remark(samples: Iterable[tuple[str, Losses]]) -> str:
    """What is lost of each finding in all samples, by id, where it is more than a hundredth; empty if nothing is."""
    masses: dict[str, dict[str, Sequence[float]]] = {}
    for id, lost in samples:
        for finding, pair in lost.items():
            masses.setdefault(finding, {})[id] = pair
    findings = [_finding(finding, pairs) for finding, pairs in sorted(masses.items()) if _share(pairs) > NOTICED]
    if not findings:
        return ""
    return f"annotated mass outside the field of view of the prepared image: {', '.join(findings)}"


def _share(pairs: Mapping[str, Sequence[float]]) -> float:
    mass, outside = np.sum(list(pairs.values()), axis=0)
    return float(outside / mass)


def _finding(finding: str, pairs: Mapping[str, Sequence[float]]) -> str:
    shares = {id: outside / mass for id, (mass, outside) in pairs.items()}
    most = max(shares, key=lambda id: shares[id])
    return f"{finding} {_share(pairs):.1%} ({most}: {shares[most]:.1%})"


def _pixel_area(geometry: Geometry | None) -> float:
    """The area of a pixel in native pixels; 0 where it is not known."""
    if geometry is None:
        return 0.0
    return abs(float(np.linalg.det(geometry.affine)))


def _mass(annotations: Iterable[Annotation], finding: str, field: Array | None) -> float:
    mass = 0.0
    for annotation in annotations:
        if annotation.finding != finding:
            continue
        values = annotation.values
        if field is not None:
            values = values[field]
        if values.dtype == bool:
            # Counting takes a twentieth of the time of summing.
            mass += np.count_nonzero(values)
        else:
            mass += float(values.sum(dtype=np.float64))
    return mass
