"""Deletion and insertion: the score while the image vanishes, or appears, most relevant pixels first."""

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
    """Pixels vanish in ``steps`` equal parts; in their place is shown a constant, in prepared units, the ``mean`` of
    each channel, the ``blur`` of the image by ``sigma`` pixels, or ``uniform`` noise in its range.
    """

    steps: int = Field(100, ge=1)
    baseline: Baseline = "mean"
    sigma: float = Field(5.0, gt=0, allow_inf_nan=False)


class InsertionParams(DeletionParams):
    """As for deletion: pixels appear in ``steps`` equal parts on a ``baseline``, by default the blurred image."""

    baseline: Baseline = "blur"


P = TypeVar("P", bound=DeletionParams, covariant=True)


class Removal(Faithfulness[P]):
    """The score on the way between an image and its baseline; ``value`` is the area under ``curve``.

    Both take the share of pixels from 0 to 1. Only pixels in the sample's field take part.
    """

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """One forward per step: one end of the curve is the stored prediction."""
        return self.params.steps, 0

    def measure(self, case: Case) -> dict[str, float | Array]:
        """``value`` and ``curve`` (steps + 1,)."""
        order, settings = ranking(case), self.params
        counts = -(-np.arange(settings.steps + 1) * order.count // settings.steps)
        curve = self.curve(case, order, counts)
        return {"value": float(trapezoid(curve, counts / order.count)), "curve": curve}

    @abstractmethod
    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """The scores (m,) when the first so many pixels of the order are taken, for each of ``counts`` (m,)."""
        raise NotImplementedError


class Deletion(Removal[DeletionParams]):
    """How soon does the score fall when the most relevant pixels are deleted first? The smaller the area the better.

    Petsiuk, Das and Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018.
    """

    higher_is_better = False

    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """The scores (m,) without the first so many pixels; none are missing from the stored prediction's image."""
        shown = replacement(case, self.params.baseline, self.params.sigma)
        return np.array([self.own(case), *self.scores(case, order, counts[1:], shown)])


class Insertion(Removal[InsertionParams]):
    """How soon does the score rise when the most relevant pixels are inserted first? The larger the area the better.

    Petsiuk, Das and Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018.
    """

    def curve(self, case: Case, order: Ranking, counts: Array) -> Array:
        """The scores (m,) with the first so many pixels; all of them are in the stored prediction's image."""
        shown, lacking = replacement(case, self.params.baseline, self.params.sigma), order.count - counts
        return np.array([*self.scores(case, order.reversed(), lacking[:-1], shown), self.own(case)])
