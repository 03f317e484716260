"""The moments of a map over noisy copies of the images."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..batch import Batch
from ..keyed import key
from ..model import Model
from ..records import Explanation
from .gradient import gradients


class Base(Protocol):
    """What noise is put under: an explainer."""

    @property
    def identity(self) -> str:
        """What its maps depend on."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers it asks for."""

    def __call__(self, batch: Batch) -> Explanation:
        """Its maps."""


@dataclass(frozen=True)
class Moments:
    """The mean of maps under noise and their variance over the draws (population), both (n, c or 1, *space)."""

    samples: int
    mean: Tensor
    variance: Tensor

    @property
    def squares(self) -> Tensor:
        """The mean of the squared maps."""
        return self.variance + self.mean.square()

    @property
    def standard_error(self) -> Tensor:
        """The standard error of the mean; NaN for one draw."""
        return (self.variance / (self.samples - 1)).sqrt() if self.samples > 1 else self.mean * float("nan")

    @property
    def relative_error(self) -> Tensor:
        """Per sample (n,) the standard error of the mean map relative to it, both as L2 norms; 0 where both are 0."""
        error = _size(self.standard_error)
        return torch.where(error == 0, 0.0, error / _size(self.mean))


def _size(maps: Tensor) -> Tensor:
    """The L2 norm of each map (n,)."""
    norms: Tensor = torch.linalg.vector_norm(maps.flatten(1), dim=1)
    return norms


def noise_moments(
    batch: Batch, samples: int, sigma: float, *, relative: bool = True, base: Base | None = None
) -> Moments:
    """Mean and variance of a map over ``samples`` noisy copies of each image; of the plain gradient without a base.

    The noise is normal with standard deviation ``sigma``, times the range (max - min) of each image where ``relative``;
    draw k of a sample depends on the batch's seed, its id and k only, so every explainer sees the same copies.
    """

    def compute() -> Moments:
        scale = sigma * (_range(batch.images) if relative else 1.0)
        maps = (_noisy(batch, scale, draw, base) for draw in range(samples))
        mean = next(maps)
        squares = torch.zeros_like(mean)
        for count, values in enumerate(maps, start=2):
            step = values - mean
            mean = mean + step / count
            squares = squares + step * (values - mean)
        return Moments(samples, mean, squares / samples)

    return batch.once(("noise moments", base and base.identity, samples, sigma, relative), compute)


def _range(images: Tensor) -> Tensor:
    """The largest value of each image less its smallest, (n, 1, …, 1)."""
    axes = tuple(range(1, images.ndim))
    return images.amax(axes, keepdim=True) - images.amin(axes, keepdim=True)


def _noisy(batch: Batch, scale: Tensor | float, draw: int, base: Base | None) -> Tensor:
    """The map of one noisy copy of each image; a base that draws itself does so by another seed."""
    images = batch.images + scale * batch.noise(draw)
    if base is None:
        return gradients(batch.at(images, layers=())).images
    made = base(batch.at(images, layers=base.layers(batch.model), seed=key(batch.seed, "noisy", draw)))
    values: Tensor = made.values
    return values
