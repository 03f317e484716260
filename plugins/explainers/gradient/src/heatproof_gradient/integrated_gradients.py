"""Gradients along the way from a constant image."""

from typing import Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.records import Explanation
from heatproof_shared_passes.sampling import Tolerance, sampling_notes

from .path import PathRule, path_gradients


class IntegratedGradientsParams(Params):
    """``steps`` points of the path, where in its step each lies, and the constant ``baseline`` in prepared units.

    With a ``tolerance``, the relative L2 error of the map that is asked for, each sample takes 25, 75, 225 … midpoints
    instead, as many as it needs but no more than ``max_steps``.
    """

    steps: PositiveInt = 64
    rule: PathRule = "midpoint"
    baseline: float = Field(default=0.0, allow_inf_nan=False)
    tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_steps: PositiveInt = 675

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        unused = "max_steps" if self.tolerance is None else "steps"
        if getattr(self, unused) != type(self).model_fields[unused].default:
            raise ValueError(f"{unused} has no effect {'without' if self.tolerance is None else 'with'} a tolerance")
        if self.tolerance is not None and self.rule != "midpoint":
            raise ValueError(f"a tolerance refines midpoints, not rule: {self.rule}; leave out one of the two")
        return self

    @property
    def count(self) -> int | Tolerance:
        """The number of points, or what decides it."""
        return self.steps if self.tolerance is None else Tolerance(self.tolerance, self.max_steps)


class IntegratedGradients(Explainer[IntegratedGradientsParams]):
    """What each value of the image adds on the straight way from a baseline (Sundararajan et al. 2017).

    Image less baseline, times the mean gradient along the way: values sum to the score less the baseline's as the steps
    grow finer. By how much the sum misses it is the note ``completeness_gap``; it is no bound on the error of the map,
    which the note ``relative_error`` estimates for the midpoint rule. That rule has the least error at a given number
    of steps; ``left`` is iNNvestigate's, ``right`` zennit's. The note ``passes`` counts the gradients taken; with a
    tolerance ``stopped_by`` says whether it was met or the limit ended the refinement.
    """

    traits = frozenset({"signed", "complete", "differentiable"})

    @property
    def passes(self) -> tuple[int, int]:
        """One forward and backward per step (with a tolerance: at most), and the baseline's forward."""
        steps = self.params.steps if self.params.tolerance is None else self.params.max_steps
        return steps + 1, steps

    def baseline(self, batch: Batch) -> Tensor:
        """The constant images (n, c, *space) where the path begins."""
        return torch.full_like(batch.images, self.params.baseline)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        settings = self.params
        found = path_gradients(batch, settings.count, settings.rule, settings.baseline)
        values = (batch.images - self.baseline(batch)) * found.mean
        return Explanation(
            values, notes={"completeness_gap": found.gap.tolist()} | sampling_notes(found, settings.count)
        )
