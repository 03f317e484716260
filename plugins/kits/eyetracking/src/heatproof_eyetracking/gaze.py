"""Gaze: every fixation a Gaussian of one profile per axis, so that a frame for each stays small and exact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from heatproof.imaging.area import coverage
from heatproof.records import Array, Sample, SpatialExtra

Scale = Literal["sum", "linear", "viridis_luma"]

SIGMA = 150.0
"""The width of EGD-CXR's Gaussians, in pixels of the original image."""


@dataclass(frozen=True)
class Frames(SpatialExtra):
    """Maps that follow one another in time, made of products of one profile per axis.

    ``profiles`` holds (t, length) per axis, ``weights`` (frames, t) how much each product counts in each frame; None
    where frame i is product i. The Gaussian is separable, so this is exact and a hundredth of the maps' size.
    """

    profiles: tuple[Array, ...]
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.profiles[0] if self.weights is None else self.weights)

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial shape of each frame."""
        return tuple(profile.shape[1] for profile in self.profiles)

    def values(self) -> Array:
        """All frames (frames, *space), drawn."""
        products = _multiplied(self.profiles, summed=False)
        return products if self.weights is None else np.tensordot(self.weights, products, axes=1)

    def total(self) -> Array:
        """The sum of all frames (*space): the static map, by one matrix product, without drawing any of them."""
        if self.weights is None:
            return _multiplied(self.profiles, summed=True)
        first, *others = self.profiles
        return _multiplied((first * self.weights.sum(axis=0)[:, None], *others), summed=True)

    def on(self, edges: list[Array]) -> "Frames":
        """The frames moved by area onto a grid; ``edges`` as for ``coverage``."""
        return replace(self, profiles=tuple(coverage(each, [cuts]) for each, cuts in zip(self.profiles, edges)))

    def windowed(self, width: int) -> "Frames":
        """Each frame with its neighbours up to ``width`` frames away, a neighbour n frames away by exp(-n)."""
        gaps = np.abs(np.subtract.outer(np.arange(len(self)), np.arange(len(self))))
        mixing = np.where(gaps <= width, np.exp(-gaps.astype(np.float64)), 0)
        return replace(self, weights=mixing if self.weights is None else mixing @ self.weights)


def joined(parts: Sequence[Frames], space: tuple[int, ...]) -> Frames:
    """The frames of several readings of one image of this shape, one after the other; none where there is none."""
    nothing = Frames(tuple(np.zeros((0, length)) for length in space))
    parts = [nothing, *parts]
    profiles = tuple(np.concatenate([part.profiles[axis] for part in parts]) for axis in range(len(space)))
    if all(part.weights is None for part in parts):
        return Frames(profiles)
    weights = np.zeros((sum(map(len, parts)), len(profiles[0])))
    row = column = 0
    for part in parts:
        own = np.eye(len(part)) if part.weights is None else part.weights
        weights[row : row + len(own), column : column + own.shape[1]] = own
        row, column = row + len(own), column + own.shape[1]
    return Frames(profiles, weights)


def _multiplied(profiles: tuple[Array, ...], summed: bool) -> Array:
    """The products (t, *space) of profiles (t, length), or their sum (*space)."""
    axes = list(range(1, len(profiles) + 1))
    operands = [part for axis, profile in zip(axes, profiles) for part in (profile, [0, axis])]
    return np.asarray(np.einsum(*operands, axes if summed else [0, *axes], optimize=True))


def reflected(pixels: Array, length: int, sigma: float) -> Array:
    """Gaussians about pixels (t,) along an axis: (t, length), each of sum 1, as scipy's ``gaussian_filter`` blurs them.

    They are cut at four sigma, and what leaves the image comes back mirrored (``reflect``, the border repeated).

    >>> reflected(np.array([4]), 9, 1.0)[0, 3:5].round(8).tolist()
    [0.24197145, 0.39894347]
    """
    # Beyond four sigma lies less than a ten-thousandth of it.
    margin = max(1, int(4 * sigma + 0.5))
    bell = np.exp(-0.5 * (np.arange(margin + 1) / sigma) ** 2)
    # One place more than it reaches, zero: what lies farther away is looked up there.
    kernel = np.append(bell / (2 * bell.sum() - 1), 0)
    turns = 2 * length * np.arange(-(margin // (2 * length)) - 1, margin // (2 * length) + 2)
    images = [image + turn for turn in turns for image in (pixels, -1 - pixels)]
    distances = (np.abs(image[:, None] - np.arange(length)) for image in images)
    return np.asarray(sum(kernel[np.minimum(distance, margin + 1)] for distance in distances))


def counted(points: Array, shape: tuple[int, ...], sigma: float = SIGMA) -> Frames:
    """A frame per fixation, each counting one: points (t, d) in continuous indices inside an image of this shape.

    So Karargyris et al. 2021 ("Creation and validation of a chest X-ray dataset with eye-tracking and report dictation
    for AI development", Scientific Data 8:92) draw static maps: whole pixels, duration ignored, 150 pixels wide.
    """
    pixels = np.floor(points).astype(int)
    return Frames(tuple(reflected(pixels[:, axis], length, sigma) for axis, length in enumerate(shape)))


def dwelt(points: Array, seconds: Array, sigmas: Array, shown: Array, shape: tuple[int, ...]) -> Frames:
    """A frame per fixation, by its seconds (t,), inside the part of the image that was shown; together of sum 1.

    ``points`` (t, d) and ``sigmas`` (t, d), one degree of visual angle, are in pixels; ``shown`` (t, d, 2) holds the
    first pixel and the one after the last. So Bigolin Lanfredi et al. 2022 ("REFLACX, a dataset of reports and
    eye-tracking data for localization of abnormalities in chest x-rays", Scientific Data 9:350) draw them; a pixel is
    valued at its centre, half a pixel beside theirs. All zero where nothing was shown or looked at.
    """
    profiles = [_bells(points[:, axis], sigmas[:, axis], shown[:, axis], length) for axis, length in enumerate(shape)]
    masses = seconds * np.prod([profile.sum(axis=1) for profile in profiles], axis=0)
    share = seconds / masses.sum() if masses.any() else np.zeros(len(seconds))
    return Frames((profiles[0] * share[:, None], *profiles[1:]))


def _bells(points: Array, sigmas: Array, shown: Array, length: int) -> Array:
    """Densities (t, length) of normal distributions at the pixels' centres, zero outside of what was shown."""
    pixels = np.arange(length)
    standard = (pixels + 0.5 - points[:, None]) / sigmas[:, None]
    inside = (pixels >= np.rint(shown[:, :1])) & (pixels < np.rint(shown[:, 1:]))
    return np.where(inside, np.exp(-0.5 * standard**2) / (np.sqrt(2 * np.pi) * sigmas[:, None]), 0)


def fixations_of(sample: Sample) -> dict[str, Array]:
    """Reader → points (n, 3) of a sample; none where it has no gaze, one unnamed reader where none is named."""
    points = np.asarray(sample.extras.get("fixations", np.zeros((0, 3))), dtype=np.float64)
    readers = np.asarray(sample.extras.get("fixation_readers", np.repeat("", len(points))))
    return {str(reader): points[readers == reader] for reader in dict.fromkeys(readers.tolist())}


def linear(density: Array) -> Array:
    """A density from its smallest value, 0, to its largest, 1; a constant one becomes zero.

    >>> linear(np.array([2.0, 3.0, 6.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    low, span = density.min(), np.ptp(density)
    return np.asarray((density - low) / span if span else np.zeros_like(density))


def viridis_luma(density: Array) -> Array:
    """The grey of a density's image in the colours of viridis, from 30/255 to 215/255; a constant one becomes zero.

    Watanabe et al. 2022 train on such greys: their maps were written by matplotlib's ``imsave`` and read as grey by
    Pillow. They grow with the density, but not in proportion.
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
"""How a static map is given: as it is, which metrics and further sums need, or as an image, as training may ask."""
