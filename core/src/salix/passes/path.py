"""Gradients along the straight path from a constant image to each image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..batch import Batch
from .sampling import Tolerance, joined, ratio, sizes, variant_gradients

PathRule = Literal["midpoint", "left", "right"]
POSITIONS: Mapping[PathRule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
"""Where in each step of a path its gradient is taken."""

START = 25
"""How many midpoints are the first whose error is believed; fewer step over narrow peaks without a sign of them."""


@dataclass(frozen=True)
class PathMeans:
    """The mean gradient (n, c, *space) over ``passes`` (n,) points of each sample's path.

    ``relative_error`` (n,) estimates the error of the map, image less baseline times mean, relative to it, both as L2
    norms. Along a piecewise linear network the gradient jumps, and where in its step a jump lies is unknown: evenly
    spread, it shifts a step's part of the mean by the jump times step / √12 (root mean square), and the jumps are seen
    between neighbouring midpoints. Other rules also shift every step the same way: NaN for them, and for one step.
    """

    mean: Tensor
    passes: Tensor
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
        if isinstance(steps, int):
            path = _Path(batch, baseline)
            path.extend(_positions(steps, rule))
            return path.means(rule)
        # One sample at a time, so that rounding in a pass shared with others never decides when it stops.
        return joined([_refined(_Path(one, baseline), steps) for one in batch.singles()])

    return batch.once(("path gradients", steps, rule, baseline), compute)


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
    """Gradients along the paths of a batch: their sum, and how far they jump from each point to the next."""

    def __init__(self, batch: Batch, baseline: float):
        self.batch, self.start = batch, torch.full_like(batch.images, baseline)
        self.way = (batch.images - self.start).detach()
        self.total, self.steps = torch.zeros_like(self.start), 0
        self.jumps = torch.zeros(())

    def extend(self, positions: Iterable[float]) -> None:
        """Take in the gradients at further points, in order; the jumps are those between them."""
        points = (torch.lerp(self.start, self.batch.images, position) for position in positions)
        self.jumps, last = torch.zeros_like(sizes(self.way)), None
        for found in variant_gradients(self.batch, points):
            self.total, self.steps = self.total + found, self.steps + 1
            if last is not None:
                self.jumps = self.jumps + sizes((found.detach() - last) * self.way).square()
            last = found.detach()

    def means(self, rule: PathRule = "midpoint") -> PathMeans:
        """The mean over all points so far, which lie as the rule says."""
        mean = self.total / self.steps
        # Of all steps, the jumps in the first and the last half are not seen.
        known = rule == "midpoint" and self.steps > 1
        spread = self.jumps / (12 * self.steps * (self.steps - 1)) if known else self.jumps * float("nan")
        error = ratio(spread.sqrt(), mean.detach() * self.way)
        return PathMeans(mean, torch.full((len(mean),), self.steps), error)
