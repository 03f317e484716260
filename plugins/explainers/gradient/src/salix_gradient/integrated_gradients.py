"""Gradients along the way from a constant picture."""

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from salix.batch import Batch
from salix.component import Params
from salix.explainer import Explainer
from salix.passes import PathRule, constant_scores, logits, path_gradients
from salix.records import Explanation


class IntegratedGradientsParams(Params):
    """``steps`` points of the path, where in its step each lies, and the constant ``baseline`` in prepared units."""

    steps: PositiveInt = 64
    rule: PathRule = "midpoint"
    baseline: float = Field(default=0.0, allow_inf_nan=False)


class IntegratedGradients(Explainer):
    """What each value of the picture adds on the straight way from a baseline (Sundararajan et al. 2017).

    Image less baseline, times the mean gradient along the way: values sum to the score less the baseline's as the steps
    grow finer. By how much the sum misses it is the note ``completeness_gap``; it is no bound on the error of the map.
    The midpoint rule has the least error at a given number of steps; ``left`` is iNNvestigate's, ``right`` zennit's.
    """

    Params = IntegratedGradientsParams
    params: IntegratedGradientsParams
    traits = frozenset({"signed", "complete", "differentiable"})

    @property
    def passes(self) -> tuple[int, int]:
        """One forward and backward per step, and the baseline's forward."""
        return self.params.steps + 1, self.params.steps

    def baseline(self, batch: Batch) -> Tensor:
        """The constant images (n, c, *space) where the path begins."""
        return torch.full_like(batch.images, self.params.baseline)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        settings = self.params
        means = path_gradients(batch, settings.steps, settings.rule, settings.baseline)
        values = (batch.images - self.baseline(batch)) * means
        gained = batch.pick(logits(batch)) - constant_scores(batch, settings.baseline)
        gap = values.detach().flatten(1).sum(1) - gained
        return Explanation(values, notes={"completeness_gap": gap.tolist()})
