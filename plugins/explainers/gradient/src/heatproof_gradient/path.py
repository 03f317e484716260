"""Gradients along the straight path from a constant image to each image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import logits
from heatproof_shared_passes.sampling import Tolerance, joined, norms, relative, variant_gradients

PathRule = Literal["midpoint", "left", "right"]
POSITIONS: Mapping[PathRule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
"""Where in each step of a path its gradient is taken."""

START = 25
"""How many midpoints are the first whose error is believed; fewer step over narrow peaks without a sign of them."""


@dataclass(frozen=True)
class PathMeans:
    """The mean gradient (n, c, *space) over ``passes`` (n,) points of each sample's path.

    Image less baseline times ``mean`` is a map. ``gap`` (n,) is by how much its sum misses the gain of the score from
    the baseline to the image. ``relative_error`` (n,) estimates the map's error relative to the map, both as L2 norms.
    The gradient jumps where a gate opens, and where in its step that is nobody knows: evenly spread, a jump seen
    between neighbouring midpoints puts the mean wrong by itself times the step / √12. Where jumps of that size do not
    explain the gap, something happens unseen between the points, and the error is as much larger as the gap. Other
    rules also put every step wrong the same way: NaN for them, and for a single step.
    """

    mean: Tensor
    passes: Tensor
    gap: Tensor
    relative_error: Tensor


def path_gradients(
    batch: Batch, steps: int | Tolerance, rule: PathRule = "midpoint", baseline: float = 0.0
) -> PathMeans:
    """The mean gradient at ``steps`` points of the straight path from a constant image to each image.

    ``rule`` says where in its step each point lies; ``baseline`` is the constant, in prepared units. With a
    ``Tolerance`` each sample has 25 midpoints, then three times as many, until the estimated error of its map is small
    enough: every third of the new midpoints is an old one, whose gradient stays in use.
    """

    def compute() -> PathMeans:
        gained = batch.pick(logits(batch)) - constant_scores(batch, baseline)
        if isinstance(steps, int):
            path = _Path(batch, baseline, gained)
            path.extend(_positions(steps, rule))
            return path.means(rule)
        # One sample at a time: when it stops must not depend on the rounding of a pass shared with others.
        paths = (_Path(one, baseline, gained[index : index + 1]) for index, one in enumerate(batch.singles()))
        return joined([_refined(path, steps) for path in paths])

    return batch.once(("path gradients", steps, rule, baseline), compute)


def constant_scores(batch: Batch, value: float) -> Tensor:
    """The targets' scores (n,) of an image that is ``value`` everywhere; one forward of one image where it can be."""

    def compute() -> Tensor:
        rows = batch if batch.inputs else batch.select([0])
        found = logits(rows.at(torch.full_like(rows.images, value)))
        return batch.pick(found.expand(len(batch), -1))

    return batch.once(("constant scores", value), compute)


def _positions(steps: int, rule: PathRule = "midpoint") -> list[float]:
    return [(step + POSITIONS[rule]) / steps for step in range(steps)]


def _refined(path: "_Path", tolerance: Tolerance) -> PathMeans:
    """The means at the first number of midpoints that has no larger error, or at the last that is allowed."""
    path.extend(_positions(min(START, tolerance.most)))
    while 3 * path.steps <= tolerance.most and bool((path.means().relative_error > tolerance.error).any()):
        finer = _positions(3 * path.steps)
        path.extend(position for step, position in enumerate(finer) if step % 3 != 1)
    return path.means()


class _Path:
    """Gradients along the paths of a batch: their sum, and how far they jump from each point to the next.

    ``jumps`` are the squared norms of the jumps of the map, ``slopes`` the squares of those of its sum, added up.
    """

    def __init__(self, batch: Batch, baseline: float, gained: Tensor):
        self.batch, self.start, self.gained = batch, torch.full_like(batch.images, baseline), gained
        self.way = (batch.images - self.start).detach()
        self.total, self.steps = torch.zeros_like(self.start), 0
        self.jumps = self.slopes = torch.zeros_like(gained)

    def extend(self, positions: Iterable[float]) -> None:
        """Take in the gradients at further points, in order; the jumps are those between them."""
        points = (torch.lerp(self.start, self.batch.images, position) for position in positions)
        self.jumps, self.slopes, last = torch.zeros_like(self.jumps), torch.zeros_like(self.slopes), None
        for found in variant_gradients(self.batch, points):
            self.total, self.steps = self.total + found, self.steps + 1
            if last is not None:
                jump = (found.detach() - last) * self.way
                self.jumps = self.jumps + norms(jump).square()
                self.slopes = self.slopes + jump.flatten(1).sum(1).square()
            last = found.detach()

    def means(self, rule: PathRule = "midpoint") -> PathMeans:
        """The mean over all points so far, which lie as the rule says."""
        mean = self.total / self.steps
        maps = mean.detach() * self.way
        gap = maps.flatten(1).sum(1) - self.gained
        known = rule == "midpoint" and self.steps > 1
        error = relative(self._error(gap), maps) if known else gap * float("nan")
        return PathMeans(mean, torch.full((len(mean),), self.steps), gap, error)

    def _error(self, gap: Tensor) -> Tensor:
        """The estimated L2 error (n,) of the maps."""
        # Of all steps, the jumps in the first and the last half are not seen.
        share = 1 / (12 * self.steps * (self.steps - 1))
        explained = self.slopes * share
        unexplained = torch.where(explained > 0, gap.square() / explained, 1.0).clamp(min=1)
        return (self.jumps * share * unexplained).sqrt()
