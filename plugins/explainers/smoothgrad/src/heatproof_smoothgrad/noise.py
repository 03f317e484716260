"""The moments of a map over noisy copies of the images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from heatproof.batch import Batch, require_finite
from heatproof.errors import PluginError
from heatproof.model import Model
from heatproof.records import Explanation
from heatproof.seeding import key
from heatproof_shared_passes.sampling import Tolerance, joined, norms, relative, variant_gradients

START = 16
"""The smallest number of draws at which the standard error is compared with the tolerance."""


class Base(Protocol):
    """An explainer whose maps of noisy copies are combined."""

    @property
    def identity(self) -> str:
        """The explainer's name, settings and revision, on which its maps depend."""

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """The forward and backward passes per sample."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers that the explainer reads."""

    def __call__(self, batch: Batch) -> Explanation:
        """The maps of a batch."""


@dataclass(frozen=True)
class Moments:
    """The mean of maps under noise and their variance over the draws (population), both (n, c or 1, *space).

    ``standard_error`` is that of the mean; NaN for a single draw or a single antithetic pair. ``samples`` (n,) counts
    the draws of each sample, ``passes`` (n,) their backward passes.
    """

    samples: Tensor
    passes: Tensor
    mean: Tensor
    variance: Tensor
    standard_error: Tensor

    @property
    def squares(self) -> Tensor:
        """The mean of the squared maps."""
        return self.variance + self.mean.square()

    @property
    def relative_error(self) -> Tensor:
        """The standard error of each mean map (n,) relative to the map, both as L2 norms; 0 where both are 0."""
        return relative(norms(self.standard_error), self.mean)


def noise_moments(
    batch: Batch,
    samples: int | Tolerance,
    sigma: float,
    *,
    relative: bool = True,
    antithetic: bool = False,
    base: Base | None = None,
) -> Moments:
    """Mean and variance of a base's map over noisy copies of each image; without a base, of the gradient.

    The noise is normal with standard deviation ``sigma``, times the range (max - min) of each image if ``relative``.
    Draw k of a sample depends only on the batch's seed, the sample's id and k, so every explainer sees the same copies.
    If ``antithetic``, every second copy has the noise of the previous one with the opposite sign. ``samples`` is the
    number of copies; a ``Tolerance`` gives each sample as many as the standard error of its mean map needs. Raises
    ``PluginError`` for an odd number of antithetic copies, and ``DataError`` for noise that exceeds the largest number
    of the image's dtype.
    """
    if antithetic and most(samples) % 2:
        raise PluginError(f"antithetic draws come in pairs: {most(samples)} must be even.")

    def copies(part: Batch) -> _Copies:
        scale: Tensor | float = sigma
        if relative:
            scale = sigma * _range(part.images)
        return _Copies(part, scale, antithetic, base)

    def compute() -> Moments:
        if isinstance(samples, int):
            return _moments(copies(batch), (samples,))
        # Each sample has passes of its own: its number of copies must not depend on how a shared pass rounds.
        singles = batch.singles()
        return joined([_moments(copies(single), _counts(samples.most), samples.error) for single in singles])

    return batch.once(("noise moments", base and base.identity, samples, sigma, relative, antithetic), compute)


def most(samples: int | Tolerance) -> int:
    """The largest number of copies of a sample."""
    if isinstance(samples, Tolerance):
        return samples.most
    return samples


def _range(images: Tensor) -> Tensor:
    """The largest minus the smallest value of each image, (n, 1, …, 1)."""
    axes = tuple(range(1, images.ndim))
    return images.amax(axes, keepdim=True) - images.amin(axes, keepdim=True)


def _counts(most: int) -> Iterator[int]:
    """The numbers of draws at which the error is tested, about a quarter more each time; all but ``most`` are even."""
    count = START
    while count < most:
        yield count
        count += 2 * -(-count // 8)
    yield most


@dataclass(frozen=True)
class _Copies:
    """The noisy copies of a batch's images, and their maps by a base or, without a base, their gradients."""

    batch: Batch
    scale: Tensor | float
    antithetic: bool
    base: Base | None

    def image(self, draw: int) -> Tensor:
        """One noisy copy of each image."""
        sign = 1
        if self.antithetic:
            sign = 1 - 2 * (draw % 2)
            draw //= 2
        copies = self.batch.images + sign * self.scale * self.batch.noise(draw)
        return require_finite(copies, self.batch.ids, "a noisy copy", "lower sigma, or the range of the image")

    def maps(self, draws: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """The maps of each draw, and their numbers of backward passes (n,)."""
        if self.base is None:
            once = torch.ones(len(self.batch), dtype=torch.long)
            return ((maps, once) for maps in variant_gradients(self.batch, map(self.image, draws)))
        return (self._based(self.base, draw) for draw in draws)

    def _based(self, base: Base, draw: int) -> tuple[Tensor, Tensor]:
        """The base's maps of one draw; the draws of a seeded base use another seed than the noise."""
        seed = key(self.batch.seed, "noisy", draw)
        explanation = base(self.batch.at(self.image(draw), layers=base.layers(self.batch.model), seed=seed))
        backwards = base.cost(self.batch.model, self.batch.space)[1]
        passes = explanation.notes.get("passes", [backwards] * len(self.batch))
        return explanation.values, torch.as_tensor(passes, dtype=torch.long)


def _moments(copies: _Copies, counts: Iterable[int], error: float = 0.0) -> Moments:
    """The moments at the first of these numbers of draws that leaves no sample a larger relative error, or the last."""
    running = _Running(2 if copies.antithetic else 1)
    for count in counts:
        running.extend(copies.maps(range(running.samples, count)))
        moments = running.moments()
        if not bool((moments.relative_error > error).any()):
            break
    return moments


class _Running:
    """Moments of a growing number of draws (Welford 1962) in independent groups of ``size`` draws each."""

    def __init__(self, size: int):
        self.size = size
        self.groups = 0
        self.passes = torch.zeros((), dtype=torch.long)
        self.mean = self.between = self.within = torch.zeros(())

    @property
    def samples(self) -> int:
        """The number of draws so far."""
        return self.groups * self.size

    def extend(self, draws: Iterator[tuple[Tensor, Tensor]]) -> None:
        """Add maps and their passes, one group after the other."""
        while group := tuple(islice(draws, self.size)):
            maps, passes = zip(*group)
            self.passes = sum(passes, self.passes)
            self._add(torch.stack(maps))

    def _add(self, maps: Tensor) -> None:
        centre = maps.mean(0)
        step = centre - self.mean
        self.groups += 1
        self.mean = self.mean + step / self.groups
        self.between = self.between + step * (centre - self.mean)
        self.within = self.within + (maps - centre).square().sum(0)

    def moments(self) -> Moments:
        """The moments of the draws so far."""
        variance = (self.size * self.between + self.within) / self.samples
        spread = self.between / self.groups
        error = self.mean * float("nan")
        if self.groups > 1:
            error = (spread / (self.groups - 1)).sqrt()
        return Moments(torch.full_like(self.passes, self.samples), self.passes, self.mean, variance, error)
