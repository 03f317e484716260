"""Averages gradients along the straight path from a reference to each image, and estimates the error."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import logits
from heatproof_shared_passes.sampling import Tolerance, joined, norms, relative, variant_gradients

from .references import Reference, constant

PathRule = Literal["midpoint", "left", "right"]
POSITIONS: Mapping[PathRule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
"""Rule → the position within each step of a path at which its gradient is computed."""

START = 25
"""The smallest number of midpoints with a trusted error estimate; fewer miss narrow peaks without notice."""


@dataclass(frozen=True)
class PathMeans:
    """The mean gradient (n, c, *space) over ``passes`` (n,) points of each sample's path.

    The map is image minus reference, times ``mean``. ``gap`` (n,) is the sum of the map minus the gain, which is the
    score of the image minus that of the reference. ``relative_error`` (n,) estimates the L2 norm of the map's error
    relative to that of the map. The gradient jumps where a gate opens, at an unknown position within its step. With a
    uniform distribution of positions, a jump between neighbouring midpoints contributes jump times step / √12 to the
    error of the mean. If these contributions do not explain the gap, the gradient also changes between the points
    unnoticed, and the estimate is raised by the same factor. The estimate is NaN for a single step, and for the other
    rules, which have the same error in every step.
    """

    mean: Tensor
    passes: Tensor
    gap: Tensor
    relative_error: Tensor


def path_gradients(
    batch: Batch, steps: int | Tolerance, rule: PathRule = "midpoint", reference: Reference | None = None
) -> PathMeans:
    """The mean gradient at ``steps`` points of the straight path from a reference, by default 0, to each image.

    ``rule`` is the position of a point within its step. With a ``Tolerance``, each sample takes 25 midpoints, then
    three times as many, until the estimated error of its map is small enough. One in three of these midpoints is an
    old one; its gradient is not computed again.
    """
    origin = reference or constant(batch, 0.0)

    def compute() -> PathMeans:
        gain = batch.pick(logits(batch)) - reference_scores(batch, origin)
        if isinstance(steps, int):
            path = _Path(batch, origin.images, gain)
            path.extend(_positions(steps, rule))
            return path.means(rule)
        # One sample at a time: its number of steps must not depend on rounding in a pass with other samples.
        rows = (slice(index, index + 1) for index in range(len(batch)))
        paths = (_Path(sample, origin.at(row), gain[row]) for row, sample in zip(rows, batch.singles()))
        return joined([_refined(path, steps) for path in paths])

    return batch.once(("path gradients", steps, rule, origin.key), compute)


@dataclass(frozen=True)
class MeanMap:
    """The mean of the maps (n, c, *space) of several references, with their passes in all, mean gap and error (n,).

    ``relative_error`` is the mean of the errors of the maps, relative to the mean map; their sum cannot be larger.
    """

    values: Tensor
    passes: Tensor
    gap: Tensor
    relative_error: Tensor


def mean_map(batch: Batch, paths: Sequence[tuple[PathMeans, Reference]]) -> MeanMap:
    """The mean over references of image minus reference, times the mean gradient along the path."""
    parts = [((batch.images - reference.images) * means.mean, means) for means, reference in paths]
    if len(parts) == 1:
        ((values, means),) = parts
        return MeanMap(values, means.passes, means.gap, means.relative_error)
    values = torch.stack([part for part, _ in parts]).mean(0)
    errors = [means.relative_error * norms(part.detach()) for part, means in parts]
    error = relative(torch.stack(errors).mean(0), values.detach())
    passes = torch.stack([means.passes for _, means in parts]).sum(0)
    gap = torch.stack([means.gap for _, means in parts]).mean(0)
    return MeanMap(values, passes, gap, error)


def reference_scores(batch: Batch, reference: Reference) -> Tensor:
    """The targets' scores (n,) of a reference; one forward of one image if it has the same scores for all."""

    def compute() -> Tensor:
        samples = batch.select([0]) if reference.is_shared and batch.alike else batch
        outputs = logits(samples.at(reference.images.expand_as(samples.images)))
        return batch.pick(outputs.expand(len(batch), -1))

    return batch.once(("reference scores", reference.key), compute)


def _positions(steps: int, rule: PathRule = "midpoint") -> list[float]:
    """The positions in 0…1 of all points of a path."""
    return [(step + POSITIONS[rule]) / steps for step in range(steps)]


def _refined(path: "_Path", tolerance: Tolerance) -> PathMeans:
    """The means over the smallest number of midpoints that meets the tolerance, or over the largest one allowed."""
    path.extend(_positions(min(START, tolerance.most)))
    while 3 * path.steps <= tolerance.most and bool((path.means().relative_error > tolerance.error).any()):
        finer = _positions(3 * path.steps)
        path.extend(position for step, position in enumerate(finer) if step % 3 != 1)
    return path.means()


class _Path:
    """The sum of gradients along the paths of a batch, and the jumps from each point to the next.

    ``map_jumps`` (n,) is the sum of the squared L2 norms of the map's jumps. ``sum_jumps`` (n,) is the sum of the
    squared jumps of the map's sum over pixels.
    """

    def __init__(self, batch: Batch, start: Tensor, gain: Tensor):
        self.batch = batch
        self.gain = gain
        self.start = start.expand_as(batch.images)
        self.difference = (batch.images - self.start).detach()
        self.total = torch.zeros_like(self.start)
        self.steps = 0
        self.map_jumps = torch.zeros_like(gain)
        self.sum_jumps = torch.zeros_like(gain)

    def extend(self, positions: Iterable[float]) -> None:
        """Add the gradients at further points, in order; the jumps between these points replace earlier jumps."""
        points = (torch.lerp(self.start, self.batch.images, position) for position in positions)
        self.map_jumps = torch.zeros_like(self.gain)
        self.sum_jumps = torch.zeros_like(self.gain)
        last = None
        for gradient in variant_gradients(self.batch, points):
            self.total = self.total + gradient
            self.steps += 1
            if last is not None:
                jump = (gradient.detach() - last) * self.difference
                self.map_jumps = self.map_jumps + norms(jump).square()
                self.sum_jumps = self.sum_jumps + jump.flatten(1).sum(1).square()
            last = gradient.detach()

    def means(self, rule: PathRule = "midpoint") -> PathMeans:
        """The means over all points so far; ``rule`` is their position within their steps."""
        mean = self.total / self.steps
        maps = mean.detach() * self.difference
        gap = maps.flatten(1).sum(1) - self.gain
        error = gap * float("nan")
        if rule == "midpoint" and self.steps > 1:
            error = relative(self._error(gap), maps)
        return PathMeans(mean, torch.full((len(mean),), self.steps), gap, error)

    def _error(self, gap: Tensor) -> Tensor:
        """The estimated L2 error (n,) of the maps."""
        # The jumps before the first and after the last midpoint are unknown: there are steps - 1 jumps for all steps.
        share = 1 / (12 * self.steps * (self.steps - 1))
        expected = self.sum_jumps * share
        factor = torch.where(expected > 0, gap.square() / expected, 1.0).clamp(min=1)
        return (self.map_jumps * share * factor).sqrt()
