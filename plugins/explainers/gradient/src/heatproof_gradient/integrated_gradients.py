"""Integrated gradients along the straight path from a constant image."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.records import Explanation
from heatproof_shared_passes.sampling import Tolerance, sampling_notes

from .path import PathRule, path_gradients


class IntegratedGradientsParams(Params):
    """``steps``: the number of points on the path; ``rule``: the position of each point within its step.

    ``baseline``: the value of the constant reference image, in prepared units. ``tolerance``: the largest relative
    L2 error of the map; instead of ``steps`` points, each sample takes 25, 75, 225 … midpoints until its estimated
    error is small enough, but at most ``max_steps``.
    """

    steps: int = Field(default=64, ge=1, le=100_000)
    rule: PathRule = "midpoint"
    baseline: float = Field(default=0.0, ge=-1e6, le=1e6)
    tolerance: float | None = Field(default=None, gt=0, le=1e6)
    max_steps: int = Field(default=675, ge=1, le=100_000)

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.tolerance is None:
            self._require_default("max_steps", "without")
            return self
        self._require_default("steps", "with")
        if self.rule != "midpoint":
            raise ValueError(f"rule must be midpoint with a tolerance (got {self.rule}); leave out one of the two")
        return self

    def _require_default(self, name: str, preposition: str) -> None:
        """Raise ``ValueError`` if a setting without effect differs from its default."""
        if getattr(self, name) != type(self).model_fields[name].default:
            raise ValueError(f"{name} has no effect {preposition} a tolerance; leave it out")

    @property
    def count(self) -> int | Tolerance:
        """The number of points, or the tolerance that decides it."""
        if self.tolerance is None:
            return self.steps
        return Tolerance(self.tolerance, self.max_steps)


class IntegratedGradients(Explainer[IntegratedGradientsParams]):
    """The contribution of each value along the straight path from a reference (Sundararajan et al. 2017).

    The map is image minus reference, times the mean gradient along the path. With finer steps its sum approaches the
    difference of the scores of image and reference. The note ``completeness_gap`` is the error of that sum; it does not
    bound the error of the map, which the note ``relative_error`` estimates for the midpoint rule. That rule has the
    smallest error for a given number of steps; iNNvestigate has the rule ``left``, zennit ``right``. The note
    ``passes`` is the number of gradients. With a tolerance, the note ``stopped_by`` is ``tolerance`` or ``limit``.
    """

    traits = frozenset({"signed", "complete", "differentiable"})
    reads_logits = True

    @property
    def passes(self) -> tuple[int, int]:
        """A forward and backward per step, at most so with a tolerance, and forwards of image and reference."""
        steps = self.params.steps
        if self.params.tolerance is not None:
            steps = self.params.max_steps
        return steps + 2, steps

    def baseline(self, batch: Batch) -> Tensor:
        """The constant reference images (n, c, *space)."""
        return torch.full_like(batch.images, self.params.baseline)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        settings = self.params
        means = path_gradients(batch, settings.count, settings.rule, settings.baseline)
        values = (batch.images - self.baseline(batch)) * means.mean
        notes = {"completeness_gap": means.gap.tolist()} | sampling_notes(means, settings.count)
        return Explanation(values, notes=notes)
