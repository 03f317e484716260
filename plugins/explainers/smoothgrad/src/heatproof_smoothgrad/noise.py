"""The moments of a map over noisy copies of the images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.errors import PluginError
from heatproof.model import Model
from heatproof.records import Explanation
from heatproof.seeding import key
from heatproof_shared_passes.sampling import Tolerance, joined, norms, relative, variant_gradients

START = 16
"""How many draws are the first whose standard error is believed."""


class Base(Protocol):
    """What noise is put under: an explainer."""

    @property
    def identity(self) -> str:
        """What its maps depend on."""

    @property
    def passes(self) -> tuple[int, int]:
        """Its forward and backward passes per sample."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers it asks for."""

    def __call__(self, batch: Batch) -> Explanation:
        """Its maps."""


@dataclass(frozen=True)
class Moments:
    """The mean of maps under noise and their variance over the draws (population), both (n, c or 1, *space).

    ``standard_error`` is that of the mean; NaN where there is but one draw, or one antithetic pair. ``samples`` (n,)
    counts the draws of each sample, ``passes`` (n,) the backward passes that they took.
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
        """Per sample (n,) the standard error of the mean map relative to it, both as L2 norms; 0 where both are 0."""
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
    """Mean and variance of a map over noisy copies of each image; of the plain gradient without a base.

    The noise is normal with standard deviation ``sigma``, times the range (max - min) of each image where ``relative``;
    draw k of a sample depends on the batch's seed, its id and k only, so every explainer sees the same copies. Where
    ``antithetic``, every other copy has the noise of the one before with the opposite sign. ``samples`` is the number
    of copies; with a ``Tolerance`` each sample has as many as the standard error of its mean map needs.
    """
    if antithetic and (samples.most if isinstance(samples, Tolerance) else samples) % 2:
        raise PluginError(f"antithetic draws come in pairs: {samples} must be even.")

    def compute() -> Moments:
        def made(part: Batch) -> _Copies:
            scale = sigma * (_range(part.images) if relative else 1.0)
            return _Copies(part, scale, antithetic, base)

        if isinstance(samples, int):
            return _moments(made(batch), (samples,))
        # One sample at a time: when it stops must not depend on the rounding of a pass shared with others.
        return joined([_moments(made(one), _counts(samples.most), samples.error) for one in batch.singles()])

    return batch.once(("noise moments", base and base.identity, samples, sigma, relative, antithetic), compute)


def _range(images: Tensor) -> Tensor:
    """The largest value of each image less its smallest, (n, 1, …, 1)."""
    axes = tuple(range(1, images.ndim))
    return images.amax(axes, keepdim=True) - images.amin(axes, keepdim=True)


def _counts(most: int) -> Iterator[int]:
    """The even numbers of draws at which the error is looked at: each a quarter more than the one before."""
    count = START
    while count < most:
        yield count
        count += 2 * -(-count // 8)
    yield most


@dataclass(frozen=True)
class _Copies:
    """The noisy copies of a batch's images, and the maps of a base, or the gradients, at them."""

    batch: Batch
    scale: Tensor | float
    antithetic: bool
    base: Base | None

    def image(self, draw: int) -> Tensor:
        """One noisy copy of each image."""
        number, sign = (draw // 2, (1, -1)[draw % 2]) if self.antithetic else (draw, 1)
        return self.batch.images + sign * self.scale * self.batch.noise(number)

    def maps(self, draws: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """The maps of each draw, and the backward passes (n,) that they took."""
        if self.base is None:
            once = torch.ones(len(self.batch), dtype=torch.long)
            return ((maps, once) for maps in variant_gradients(self.batch, map(self.image, draws)))
        return (self._based(self.base, draw) for draw in draws)

    def _based(self, base: Base, draw: int) -> tuple[Tensor, Tensor]:
        """The base's maps of one draw; a base that draws itself does so by another seed."""
        seed = key(self.batch.seed, "noisy", draw)
        made = base(self.batch.at(self.image(draw), layers=base.layers(self.batch.model), seed=seed))
        passes = made.notes.get("passes", [base.passes[1]] * len(self.batch))
        return made.values, torch.as_tensor(passes, dtype=torch.long)


def _moments(copies: _Copies, counts: Iterable[int], error: float = 0.0) -> Moments:
    """The moments at the first of these numbers of draws where no sample has a larger relative error, or the last."""
    running = _Running(2 if copies.antithetic else 1)
    for count in counts:
        running.extend(copies.maps(range(running.samples, count)))
        found = running.moments()
        if not bool((found.relative_error > error).any()):
            break
    return found


class _Running:
    """Moments of a growing number of draws (Welford 1962), of which ``size`` at a time depend on one another."""

    def __init__(self, size: int):
        self.size, self.groups = size, 0
        self.passes = torch.zeros((), dtype=torch.long)
        self.mean = self.between = self.within = torch.zeros(())

    @property
    def samples(self) -> int:
        """How many draws there were."""
        return self.groups * self.size

    def extend(self, draws: Iterator[tuple[Tensor, Tensor]]) -> None:
        """Take in maps and their passes, one group after the other."""
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
        error = (spread / (self.groups - 1)).sqrt() if self.groups > 1 else self.mean * float("nan")
        return Moments(torch.full_like(self.passes, self.samples), self.passes, self.mean, variance, error)
