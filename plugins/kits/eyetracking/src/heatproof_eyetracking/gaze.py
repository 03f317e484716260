"""Turns fixations into maps: each fixation is a Gaussian, stored exactly as one profile per axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from heatproof.imaging.area import coverage
from heatproof.records import Array, Sample, SpatialExtra

Scale = Literal["sum", "linear", "viridis_luma"]

SIGMA = 150.0
"""The standard deviation of the Gaussians of EGD-CXR, in pixels of the original image."""


@dataclass(frozen=True)
class Frames(SpatialExtra):
    """A sequence of maps in time, each a weighted sum of products of one profile per axis.

    ``profiles`` holds (t, length) per axis and ``weights`` (frames, t) the weight of each product in each frame;
    without weights frame i is product i. Gaussians are separable: this is exact and a hundredth of the maps' size.
    """

    profiles: tuple[Array, ...]
    weights: Array | None = None

    def __len__(self) -> int:
        if self.weights is None:
            return len(self.profiles[0])
        return len(self.weights)

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial shape of each frame."""
        return tuple(profile.shape[1] for profile in self.profiles)

    def values(self) -> Array:
        """Compute all frames (frames, *space)."""
        products = _products(self.profiles, total=False)
        if self.weights is None:
            return products
        return np.tensordot(self.weights, products, axes=1)

    def total(self) -> Array:
        """Compute the static map (*space): the sum of all frames by one matrix product, without the single frames."""
        if self.weights is None:
            return _products(self.profiles, total=True)
        first, *others = self.profiles
        return _products((first * self.weights.sum(axis=0)[:, None], *others), total=True)

    def on(self, edges: list[Array]) -> "Frames":
        """Move the frames by area onto a grid; ``edges`` as for ``coverage``."""
        profiles = tuple(coverage(profile, [cuts]) for profile, cuts in zip(self.profiles, edges))
        return replace(self, profiles=profiles)

    def turned(self, axes: tuple[int, ...], turns: int) -> "Frames":
        """Mirror the frames along axes, counted from the last, then turn them as ``np.rot90`` does."""
        profiles = list(self.profiles)
        for axis in axes:
            profiles[axis] = profiles[axis][:, ::-1]
        for _ in range(turns):
            profiles[-2:] = [profiles[-1][:, ::-1], profiles[-2]]
        return replace(self, profiles=tuple(map(np.ascontiguousarray, profiles)))

    def windowed(self, width: int) -> "Frames":
        """Add to each frame its neighbours up to ``width`` frames away; n frames away they weigh exp(-n)."""
        gaps = np.abs(np.subtract.outer(np.arange(len(self)), np.arange(len(self))))
        weights = np.where(gaps <= width, np.exp(-gaps.astype(np.float64)), 0)
        if self.weights is not None:
            weights = weights @ self.weights
        return replace(self, weights=weights)


def joined(parts: Sequence[Frames], space: tuple[int, ...]) -> Frames:
    """Join the frames of several readings of one image of this shape, one after the other; no frame without parts."""
    empty = Frames(tuple(np.zeros((0, length)) for length in space))
    parts = [empty, *parts]
    profiles = tuple(np.concatenate([part.profiles[axis] for part in parts]) for axis in range(len(space)))
    if all(part.weights is None for part in parts):
        return Frames(profiles)
    weights = np.zeros((sum(map(len, parts)), len(profiles[0])))
    row = column = 0
    for part in parts:
        block = np.eye(len(part)) if part.weights is None else part.weights
        weights[row : row + block.shape[0], column : column + block.shape[1]] = block
        row += block.shape[0]
        column += block.shape[1]
    return Frames(profiles, weights)


def _products(profiles: tuple[Array, ...], total: bool) -> Array:
    """Multiply profiles (t, length) of all axes: the products (t, *space), or their ``total`` (*space)."""
    axes = list(range(1, len(profiles) + 1))
    operands: list[Any] = []
    for axis, profile in zip(axes, profiles):
        operands += [profile, [0, axis]]
    if not total:
        axes = [0, *axes]
    return np.asarray(np.einsum(*operands, axes, optimize=True))


def reflected(pixels: Array, length: int, sigma: float) -> Array:
    """Compute Gaussians (t, length) centred at pixels (t,) of an axis, each of sum 1, as ``gaussian_filter`` of SciPy.

    They are cut off at four sigma; parts outside the image are mirrored into it, with the border pixel repeated
    (``mode="reflect"``).

    >>> reflected(np.array([4]), 9, 1.0)[0, 3:5].round(8).tolist()
    [0.24197145, 0.39894347]
    """
    # Less than a ten-thousandth of a Gaussian is farther away than four sigma.
    margin = max(1, int(4 * sigma + 0.5))
    bell = np.exp(-0.5 * (np.arange(margin + 1) / sigma) ** 2)
    # The last entry is zero: all larger distances look up their value there.
    kernel = np.append(bell / (2 * bell.sum() - 1), 0)
    profiles = np.zeros((len(pixels), length))
    # The mirrored copies of a pixel repeat after two lengths of the axis.
    for shift in 2 * length * np.arange(-(margin // (2 * length)) - 1, margin // (2 * length) + 2):
        for centres in (pixels + shift, -1 - pixels + shift):
            distances = np.abs(centres[:, None] - np.arange(length))
            profiles += kernel[np.minimum(distances, margin + 1)]
    return profiles


def counted(points: Array, shape: tuple[int, ...], sigma: float = SIGMA) -> Frames:
    """Make a frame of sum 1 per fixation; points (t, d) are continuous indices inside an image of this shape.

    Fixations are rounded down to whole pixels and their duration is ignored, as in the static maps of Karargyris et al.
    2021 ("Creation and validation of a chest X-ray dataset with eye-tracking and report dictation for AI development",
    Scientific Data 8:92), whose sigma is 150 pixels.
    """
    pixels = np.floor(points).astype(int)
    return Frames(tuple(reflected(pixels[:, axis], length, sigma) for axis, length in enumerate(shape)))


def dwelt(points: Array, seconds: Array, sigmas: Array, shown: Array, shape: tuple[int, ...]) -> Frames:
    """Make a frame per fixation, weighted by its seconds (t,), inside the shown part of the image; their sum is 1.

    ``points`` (t, d) and ``sigmas`` (t, d), one degree of visual angle, are in pixels; ``shown`` (t, d, 2) holds the
    first shown pixel and the pixel after the last one. The maps are those of Bigolin Lanfredi et al. 2022 ("REFLACX, a
    dataset of reports and eye-tracking data for localization of abnormalities in chest x-rays", Scientific Data 9:350),
    but evaluated at pixel centres, half a pixel from theirs. All frames are zero where no fixation met a shown pixel.
    """
    profiles = [_bells(points[:, axis], sigmas[:, axis], shown[:, axis], length) for axis, length in enumerate(shape)]
    masses = seconds * np.prod([profile.sum(axis=1) for profile in profiles], axis=0)
    shares = np.zeros(len(seconds))
    if masses.any():
        shares = seconds / masses.sum()
    return Frames((profiles[0] * shares[:, None], *profiles[1:]))


def _bells(points: Array, sigmas: Array, shown: Array, length: int) -> Array:
    """Compute densities (t, length) of normal distributions at the pixels' centres, zero outside the shown part."""
    pixels = np.arange(length)
    standard = (pixels + 0.5 - points[:, None]) / sigmas[:, None]
    inside = (pixels >= np.rint(shown[:, :1])) & (pixels < np.rint(shown[:, 1:]))
    return np.where(inside, np.exp(-0.5 * standard**2) / (np.sqrt(2 * np.pi) * sigmas[:, None]), 0)


def fixations_of(sample: Sample) -> dict[str, Array]:
    """Reader → points (n, 3) of a sample; empty without gaze; without names all points belong to the reader ""."""
    points = np.asarray(sample.extras.get("fixations", np.zeros((0, 3))), dtype=np.float64)
    readers = np.asarray(sample.extras.get("fixation_readers", np.repeat("", len(points))))
    return {str(reader): points[readers == reader] for reader in dict.fromkeys(readers.tolist())}


def linear(density: Array) -> Array:
    """Scale a density to 0 … 1 by its smallest and largest value; a constant density becomes zero.

    >>> linear(np.array([2.0, 3.0, 6.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    span = np.ptp(density)
    if not span:
        return np.zeros_like(density)
    return np.asarray((density - density.min()) / span)


def viridis_luma(density: Array) -> Array:
    """Convert a density to the grey of its image in viridis, 30/255 to 215/255; a constant density becomes zero.

    Watanabe et al. 2022 train on these greys: their maps were written by matplotlib's ``imsave`` and read as grey by
    Pillow. The greys grow with the density, but not in proportion to it.
    """
    from matplotlib import colormaps

    if not np.ptp(density):
        return np.zeros_like(density)
    colours = colormaps["viridis"](linear(density), bytes=True)[..., :3].astype(np.int64)
    return np.asarray((colours @ (19595, 38470, 7471) + 0x8000 >> 16) / 255)


SCALES: Mapping[Scale, Callable[[Array], Array]] = {
    "sum": np.asarray,
    "linear": linear,
    "viridis_luma": viridis_luma,
}
"""The scales of a static map: the plain sum, as metrics and further sums need it, or an image, a target of training."""
