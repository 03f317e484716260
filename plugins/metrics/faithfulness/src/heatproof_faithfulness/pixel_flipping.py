"""Pixel flipping: the score while pixels, or patches, are replaced one after the other, most relevant first."""

import numpy as np
from pydantic import Field
from scipy.integrate import trapezoid

from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array

from .perturbation import Baseline, Faithfulness, FaithfulnessParams, replacement
from .ranking import patch_count, ranking


class PixelFlippingParams(FaithfulnessParams):
    """Squares of ``patch`` pixels, 1 for single ones, are replaced, ``features_in_step`` of them at a time.

    There are at most ``steps`` (None: until all is replaced). What is shown in their place is as for deletion.
    """

    patch: int = Field(9, ge=1)
    features_in_step: int = Field(1, ge=1)
    steps: int | None = Field(100, ge=1)
    baseline: Baseline = "uniform"
    sigma: float = Field(5.0, gt=0, allow_inf_nan=False)


class PixelFlipping(Faithfulness[PixelFlippingParams]):
    """How does the score fall while an image is flipped patch by patch, most relevant first?

    ``curve`` starts with the image itself; once all is replaced it stays as it is. ``value`` is the area under it, of
    width 1: the smaller the better. ``aopc`` is the mean fall of the score over the curve, the area over it.

    Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
    PLoS ONE 10 (2015); patches, their random values and the area: Samek et al., "Evaluating the visualization of what a
    deep neural network has learned", IEEE Transactions on Neural Networks and Learning Systems 28 (2017).
    """

    higher_is_better = False
    opposite = frozenset({"aopc"})

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """One forward per step; fewer where the field is smaller than the grid."""
        return self.steps(space), 0

    def steps(self, space: tuple[int, ...]) -> int:
        """How many steps the curve of a grid has."""
        whole = -(-patch_count(space, self.params.patch) // self.params.features_in_step)
        return whole if self.params.steps is None else min(self.params.steps, whole)

    def measure(self, case: Case) -> dict[str, float | Array]:
        """``value``, ``aopc`` and ``curve`` (steps + 1,)."""
        order, steps, settings = ranking(case, self.params.patch), self.steps(case.sample.space), self.params
        counts = np.arange(1, min(steps, -(-order.count // settings.features_in_step)) + 1) * settings.features_in_step
        shown = replacement(case, settings.baseline, settings.sigma)
        found = [self.own(case), *self.scores(case, order, np.minimum(counts, order.count), shown)]
        curve = np.array(found + found[-1:] * (steps + 1 - len(found)))
        return {"value": float(trapezoid(curve) / steps), "aopc": float(curve[0] - curve.mean()), "curve": curve}
