"""Reads masks and densities on the grid of their image."""

from pathlib import Path

import numpy as np

from heatproof.imaging.images import laid, read_image, read_mask
from heatproof.imaging.turning import Turned
from heatproof.records import Annotation, Array, Geometry


def read_map(kind: str, finding: str, path: Path, geometry: Geometry, turned: Turned = "refuse") -> Annotation:
    """Read a ``mask`` or a ``density``; raises ``DataError`` where it does not lie on the grid of its image."""
    if kind == "mask":
        return Annotation(finding, read_mask(path, image=geometry, turned=turned), "mask", source=str(path))
    return Annotation(finding, laid(_density(path), path, geometry, turned), "density", source=str(path))


def _density(path: Path) -> Array:
    """Read a density (*space) float32: the mean over channels as a share of white."""
    image = read_image(path, window="type")[0]
    white = np.float32(1)
    if image.dtype.kind == "u":
        white = np.float32(np.iinfo(image.dtype).max)
    return np.asarray(image.mean(axis=0, dtype=np.float32) / white)
