"""Lesion weights of IDRiD's masks, counted in many ways, beside those that Van Craenendonck et al. 2020 publish.

``IDRID=FOLDER python docs/papers/van-craenendonck-2020/results/lesion_weights.py`` prints a table in Markdown, in about
half a minute on one core. FOLDER holds ``A. Segmentation``; only its 54 training photographs are read.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

from heatproof.records import Array, Sample
from heatproof_fundus.photograph import Fundus
from heatproof_idrid.idrid import Idrid

PUBLISHED = {"haemorrhages": 1.0, "hard_exudates": 1.05, "soft_exudates": 5.77, "microaneurysms": 46.97}
"""The largest number of pixels of any lesion over that of each, as the paper states it."""
SIZE = 448
"""Height and width of the networks' input, in pixels."""
CUTS = {"any": 1e-6, "half": 0.5, "whole": 1 - 1e-6}
"""The least value of a resized mask that counts as lesion: anything, from the middle on, or all of it."""
MODES = {
    "nearest": {"mode": "nearest"},
    "bilinear": {"mode": "bilinear"},
    "bilinear, widened": {"mode": "bilinear", "antialias": True},
    "bicubic": {"mode": "bicubic"},
    "area": {"mode": "area"},
}
"""Interpolations; all but the widened one and ``area`` look at 1, 4 or 16 pixels, however much the image shrinks."""
EIGHT = np.ones((3, 3))
"""Pixels that touch at a corner belong to one lesion."""
Window = tuple[int, int, int, int]
"""First and last row, first and last column of what becomes the input, in pixels of the photograph."""
Counts = dict[str, float]
PIXELS = "pixels of the photograph"


def window_of(prepared: Sample) -> Window:
    """The square round the field of view that the preparation scales to ``SIZE`` pixels."""
    assert prepared.geometry is not None
    (top, left), (bottom, right) = prepared.geometry.to_native(np.array([[0.0, 0.0], [SIZE, SIZE]]))
    return round(top), round(bottom), round(left), round(right)


def cut_out(mask: Array, window: Window) -> Array:
    """The part of a mask in a window, with zeros where the window leaves the photograph."""
    top, bottom, left, right = window
    result = np.zeros((bottom - top, right - left), mask.dtype)
    inside = mask[max(0, top) : bottom, max(0, left) : right]
    row = max(0, -top)
    column = max(0, -left)
    result[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return result


def resized(mask: Array) -> dict[str, Array]:
    """Mode → a mask (h, w) with ``SIZE`` rows and columns, from 0 to 1."""
    values = torch.from_numpy(mask.astype(np.float32))[None, None]
    return {
        name: interpolate(values, (SIZE, SIZE), **options)[0, 0].numpy()  # type: ignore[arg-type]
        for name, options in MODES.items()
    }


def counted(mask: Array, window: Window, field: Array) -> Counts:
    """Way of counting → the count of one mask; ``field`` is the disc of the input that the preparation shows."""
    parts = {"input": resized(cut_out(mask, window)), "squeezed photograph": resized(mask)}
    counts: Counts = {PIXELS: float(mask.sum()), "mass on the input, by area": float(parts["input"]["area"].sum())}
    counts["mass on the input inside 90 % of the radius"] = float(parts["input"]["area"][field].sum())
    for part, forms in parts.items():
        for mode, small in forms.items():
            for cut, least in CUTS.items():
                counts[f"pixels of the {part}, {mode}, {cut}"] = float((small >= least).sum())
    nearest = parts["input"]["nearest"]
    counts["connected regions of the photograph"] = float(ndimage.label(mask, EIGHT)[1])
    counts["connected regions of the input, nearest"] = float(ndimage.label(nearest, EIGHT)[1])
    counts["cells of a grid of 10 × 10 on the input"] = cells(parts["input"]["area"] > 0)
    return counts


def cells(small: Array) -> float:
    """The cells of a grid of 10 × 10 that a mask (``SIZE``, ``SIZE``) touches."""
    starts = np.linspace(0, SIZE, 11)[:-1].astype(int)
    sums = np.add.reduceat(np.add.reduceat(small.astype(int), starts, axis=0), starts, axis=1)
    return float((sums > 0).sum())


def measured(dataset: Idrid) -> Iterator[dict[str, Counts]]:
    """Per photograph: lesion → the counts of its mask, none for a lesion that is absent."""
    prepare = Fundus(size=SIZE)
    for id in dataset.ids("tuning"):
        sample = dataset.load(id)
        prepared = prepare(sample)
        assert prepared.field is not None
        window = window_of(prepared)
        field = prepared.field
        masks = {finding: sample.mask(finding) for finding in PUBLISHED}
        yield {
            finding: counted(mask, window, field) for finding, mask in masks.items() if mask is not None and mask.any()
        }


def totals(photographs: list[dict[str, Counts]]) -> Iterator[tuple[str, dict[str, float]]]:
    """The weights of every way, from the sum over all photographs, and for pixels from other means."""
    ways = dict.fromkeys(way for lesions in photographs for counts in lesions.values() for way in counts)
    # Nearest pixels are 0 or 1, so all thresholds give the same.
    for way in (way for way in ways if not ("nearest, any" in way or "nearest, whole" in way)):
        yield way, _weights(table(photographs, way).sum(axis=0))
    native = table(photographs, PIXELS)
    shown = np.where(native > 0, native, np.nan)
    ill = native[native.any(axis=1)]
    yield "mean pixels of the photographs with the lesion", _weights(np.nanmean(shown, axis=0))
    yield "median pixels of the photographs with the lesion", _weights(np.nanmedian(shown, axis=0))
    yield "mean share of a photograph's lesion pixels", _weights((ill / ill.sum(axis=1, keepdims=True)).mean(axis=0))
    yield "photographs with the lesion", _weights((native > 0).sum(axis=0))


def table(photographs: list[dict[str, Counts]], way: str) -> Array:
    """The counts (photograph, lesion), zero for a lesion that is absent."""
    return np.array([[lesions.get(finding, {}).get(way, 0.0) for finding in PUBLISHED] for lesions in photographs])


def _weights(counts: Array) -> dict[str, float]:
    """The largest count of any lesion over that of each, infinite for one without any."""
    largest = counts.max()
    return {finding: largest / count if count else float("inf") for finding, count in zip(PUBLISHED, counts.tolist())}


def distance(weights: Mapping[str, float]) -> float:
    """The largest factor between a weight and the published one."""
    return max(max(weights[finding] / value, value / weights[finding]) for finding, value in PUBLISHED.items())


def line(name: str, values: Mapping[str, float], factor: str) -> str:
    """One row of the table."""
    return f"| {name} | {' | '.join(f'{values[finding]:.2f}' for finding in PUBLISHED)} | {factor} |"


def needed(photographs: list[dict[str, Counts]]) -> float:
    """The least haemorrhage pixels of further photographs, over those of these, that give the published weight.

    The further photographs have no microaneurysm at all, which makes their number of haemorrhage pixels the least.
    """
    native = dict(zip(PUBLISHED, table(photographs, PIXELS).sum(axis=0).tolist()))
    return float(PUBLISHED["microaneurysms"] * native["microaneurysms"] / native["haemorrhages"] - 1)


def main() -> None:
    """Print the table of all ways, the published one first."""
    dataset = Idrid(root=Path(os.environ["IDRID"]))
    photographs = list(measured(dataset))
    print(f"{len(photographs)} photographs\n")
    print(f"| counted | {' | '.join(PUBLISHED)} | largest factor |\n|---|---|---|---|---|---|")
    print(line("**published**", PUBLISHED, "1"))
    for name, values in totals(photographs):
        print(line(name, values, f"{distance(values):.1f}"))
    print(f"\nFurther photographs would need {needed(photographs):.1f} times the haemorrhage pixels of these.")


if __name__ == "__main__":
    main()
