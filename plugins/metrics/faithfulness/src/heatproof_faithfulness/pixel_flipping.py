"""Pixel flipping: the score while pixels or patches are replaced one by one, most relevant first."""

from typing import Literal, TypeVar

import numpy as np
from pydantic import Field
from scipy.integrate import trapezoid

from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array

from .perturbation import Baseline, Faithfulness, FaithfulnessParams, replacement
from .ranking import patch_count, ranking


class PixelFlippingParams(FaithfulnessParams):
    """Squares of ``patch`` pixels along each side are replaced, ``features_in_step`` of them at a time.

    There are at most ``steps`` (None: until all are replaced). ``baseline`` and ``sigma`` are those of deletion.
    """

    patch: int = Field(9, ge=1, le=10_000)
    features_in_step: int = Field(1, ge=1, le=1_000_000)
    steps: int | None = Field(100, ge=1, le=100_000)
    baseline: Baseline = "uniform"
    sigma: float = Field(5.0, gt=0, le=1000)


class SelectivityParams(PixelFlippingParams):
    """The settings of pixel flipping, by default as for selectivity: to 0 in prepared units, until all are replaced."""

    patch: int = Field(16, ge=1, le=10_000)
    steps: int | None = Field(None, ge=1, le=100_000)
    baseline: Baseline = 0.0
    of: Literal["probability", "logit"] = "logit"


P = TypeVar("P", bound=PixelFlippingParams, covariant=True)


class Flipping(Faithfulness[P]):
    """The score while an image is flipped patch by patch, most relevant first; subclasses differ in their settings."""

    higher_is_better = False
    opposite = frozenset({"aopc"})

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one forward per step; there are fewer where the field is smaller than the grid."""
        return self.steps(space), 0

    def steps(self, space: tuple[int, ...]) -> int:
        """The number of steps of the curve of a grid."""
        steps = -(-patch_count(space, self.params.patch) // self.params.features_in_step)
        return min(self.params.steps or steps, steps)

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return ``value``, ``aopc`` and ``curve`` (steps + 1,)."""
        params = self.params
        order = ranking(case, params.patch)
        steps = self.steps(case.sample.space)
        flips = min(steps, -(-order.count // params.features_in_step))
        counts = np.minimum(np.arange(1, flips + 1) * params.features_in_step, order.count)
        baseline = replacement(case, params.baseline, params.sigma)
        scores = [self.image_score(case), *self.scores(case, order, counts, baseline)]
        curve = np.pad(scores, (0, steps - flips), mode="edge")
        return {"value": float(trapezoid(curve) / steps), "aopc": float(curve[0] - curve.mean()), "curve": curve}


class PixelFlipping(Flipping[PixelFlippingParams]):
    """How does the score fall while an image is flipped patch by patch, most relevant first?

    The relevance of a patch is the mean of the heatmap over its pixels within the field; by a sum, patches cut by the
    border would come last.
    ``curve`` starts with the image itself and stays constant once all patches are replaced. ``value`` is the area under
    the curve over a width of 1: the smaller the better. ``aopc``, the area over the curve, is the mean fall of the
    score.

    Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
    PLoS ONE 10 (2015); patches, their random values and the area: Samek et al., "Evaluating the visualization of what a
    deep neural network has learned", IEEE Transactions on Neural Networks and Learning Systems 28 (2017).
    """

    revision = 2


class Selectivity(Flipping[SelectivityParams]):
    """How fast does the logit fall when patches are set to 0, most relevant first, until none is left? (selectivity)

    This is pixel flipping by the settings of its authors: ``value`` is the area under the curve, the smaller the
    better, and ``aopc`` the area over it.

    Montavon, Samek and Müller, "Methods for interpreting and understanding deep neural networks", Digital Signal
    Processing 73 (2018).
    """
