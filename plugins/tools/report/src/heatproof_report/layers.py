"""The layers of a case side by side: the original, the annotations, and every heatmap with its colour scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from heatproof.errors import DataError
from heatproof.records import Array, Sample

from .collection import Collection
from .overlay import coloured, rgb_image, scale_of, sliced

GREY = 0.8
"""Brightness of the grey image below a heatmap."""


@dataclass(frozen=True)
class Heat:
    """The heatmap of a method (h, w), and the values at both ends of its colour scale; ``signed``: blue to red."""

    method: str
    values: Array
    low: float
    high: float
    signed: bool

    def over(self, grey: Array, opacity: float = 0.8) -> Array:
        """Colour the heatmap over a grey image (h, w) uint8, as RGB (h, w, 3) uint8."""
        pixels = coloured(self.values, self.low, self.high, self.signed)
        alpha = opacity * pixels[..., 3:] / 255
        blended: Array = np.round(alpha * pixels[..., :3] + (1 - alpha) * GREY * grey[..., None]).astype(np.uint8)
        return blended


@dataclass(frozen=True)
class Layers:
    """A case on the grid of its model: original (h, w, 3) uint8, a mask (h, w) bool per finding, and the heatmaps."""

    collection: Collection
    case: str
    original: Array
    masks: Mapping[str, Array]
    heats: Sequence[Heat]
    remark: str = ""

    @property
    def grey(self) -> Array:
        """The original in grey (h, w) uint8."""
        return np.asarray(Image.fromarray(self.original).convert("L"))


def layers(collection: Collection, case: str, methods: Sequence[str], common: bool = False) -> Layers:
    """Read the layers of a case for some methods; those without a finite heatmap of it are left out.

    ``common`` gives all heatmaps one colour scale. Of a volume, the slice with the most annotation is shown, or with
    the most heat. Raises what loading the case raises, and ``DataError`` without any heatmap, or if the data have
    changed since the run.
    """
    maps = {method: collection.heatmap(method, case) for method in methods}
    values = {method: heatmap for method, heatmap in maps.items() if heatmap is not None}
    if not values:
        raise DataError("no method has a finite heatmap of it.")
    prepared = collection.sample(case)
    sample = prepared.sample
    for heatmap in values.values():
        if heatmap.shape != sample.space:
            raise DataError(
                f"the heatmap has the shape {heatmap.shape}, the prepared sample {sample.space}: the data have changed "
                "since the run; run the same config again."
            )
    remark = ""
    if len(sample.space) == 3:
        sample, values, remark = sliced(sample, values)
    original = prepared.original
    if original is None:
        original = np.asarray(rgb_image(sample.image))
    heats = [heat(method, heatmap) for method, heatmap in values.items()]
    if common:
        heats = with_common_scale(heats)
    return Layers(collection, case, original, masks(sample, collection.units[0]["findings"]), heats, remark)


def heat(method: str, values: Array) -> Heat:
    """Make the heat of a method with its own colour scale, which ends at the 99.5th percentile."""
    return Heat(method, values, *scale_of(values))


def with_common_scale(heats: Sequence[Heat]) -> list[Heat]:
    """Give all heatmaps of a case the widest of their colour scales."""
    signed = any(heat.signed for heat in heats)
    high = max((heat.high for heat in heats), default=0.0)
    low = -high
    if not signed:
        low = min((heat.low for heat in heats), default=0.0)
    return [replace(heat, low=low, high=high, signed=signed) for heat in heats]


def masks(sample: Sample, findings: Sequence[str]) -> dict[str, Array]:
    """The annotated pixels (h, w) bool of each finding, in the order of the dataset; empty masks keep the order."""
    names = dict.fromkeys([*findings, *sample.findings()])
    empty = np.zeros(sample.space, dtype=bool)
    annotated = {name: sample.mask(name) for name in names}
    return {name: empty if mask is None else np.asarray(mask > 0) for name, mask in annotated.items()}
