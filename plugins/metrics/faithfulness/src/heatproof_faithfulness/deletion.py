"""Deletion and insertion: the score while pixels are removed, or added, most relevant first."""

from abc import abstractmethod
from typing import TypeVar

import numpy as np
from pydantic import Field
from scipy.integrate import trapezoid

from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array

from .perturbation import Baseline, Faithfulness, FaithfulnessParams, replacement
from .ranking import Ranking, ranking


class DeletionParams(FaithfulnessParams):
    """Pixels are replaced in ``steps`` equal parts by the ``baseline``.

    The baseline is a constant in prepared units, the ``mean`` of each channel, the ``blur`` of the image by ``sigma``
    pixels, or ``uniform`` noise in the range of each channel.
    """

    steps: int = Field(100, ge=1, le=100_000)
    baseline: Baseline = "mean"
    sigma: float = Field(5.0, gt=0, le=1000)


class InsertionParams(DeletionParams):
    """Pixels appear in ``steps`` equal parts on a ``baseline`` as for deletion, by default the blurred image."""

    baseline: Baseline = "blur"


P = TypeVar("P", bound=DeletionParams, covariant=True)


class Removal(Faithfulness[P]):
    """The score between an image and its baseline; ``value`` is the area under ``curve``.

    The curve is over the share of pixels from 0 to 1. Only pixels in the sample's field are replaced.
    """

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one forward per step: one end of the curve is the stored prediction."""
        return self.params.steps, 0

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return ``value`` and ``curve`` (steps + 1,)."""
        order = ranking(case)
        steps = self.params.steps
        counts = -(-np.arange(steps + 1) * order.count // steps)
        curve = self.curve(case, order, counts)
        return {"value": float(trapezoid(curve, counts / order.count)), "curve": curve}

    @abstractmethod
    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """The scores (m,) after the first ``counts`` (m,) pixels of the order are removed or added."""
        raise NotImplementedError


class Deletion(Removal[DeletionParams]):
    """How soon does the score fall when the most relevant pixels are deleted first? The smaller the area the better.

    Petsiuk, Das and Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018.
    """

    higher_is_better = False

    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """Compute the scores (m,) without the first ``counts`` pixels; the first is that of the stored prediction."""
        baseline = replacement(case, self.params.baseline, self.params.sigma)
        return np.array([self.image_score(case), *self.scores(case, order, counts[1:], baseline)])


class Insertion(Removal[InsertionParams]):
    """How soon does the score rise when the most relevant pixels are inserted first? The larger the area the better.

    Petsiuk, Das and Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018.
    """

    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """Compute the scores (m,) with the first ``counts`` pixels; the last is that of the stored prediction."""
        baseline = replacement(case, self.params.baseline, self.params.sigma)
        replaced = order.count - counts[:-1]
        return np.array([*self.scores(case, order.reversed(), replaced, baseline), self.image_score(case)])
