"""ROAD: the score after pixels are replaced by values imputed from their neighbours."""

from collections.abc import Callable
from math import floor
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array
from heatproof.seeding import generator

from .imputation import imputed
from .perturbation import Faithfulness, FaithfulnessParams, predictions
from .ranking import Ranking, ranking

Percentage = Annotated[float, Field(gt=0, lt=100)]


class RoadParams(FaithfulnessParams):
    """The ``percentages`` of pixels that are removed, and the noise that is added to imputed values.

    ``noise`` is the standard deviation of a normal distribution, in prepared units.
    """

    percentages: tuple[Percentage, ...] = Field((10, 20, 30, 40, 50, 60, 70, 80, 90), min_length=1, max_length=1000)
    noise: float = Field(0.01, ge=0, le=1e6)


class Road(Faithfulness[RoadParams]):
    """Remove and debias: removed pixels become the weighted means of their neighbours and a little noise.

    A constant would show the model the outline of the removed pixels. ``morf`` and ``lerf`` are the scores after each
    percentage of the most, or the least, relevant pixels is removed. ``morf_same`` and ``lerf_same`` are 1 where the
    decision is the same as on the unchanged image: over cases that the model decides rightly, their means are the
    paper's accuracies; a score over a region decides nothing, and they are NaN. ``value`` is the mean of ``lerf`` minus
    that of ``morf``, in [-1, 1] for probabilities, the larger the better; a random heatmap is expected to reach 0.

    Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022.
    """

    revision = 2

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count two forwards per percentage."""
        return 2 * len(self.params.percentages), 0

    def expected(self, measure: str) -> float | None:
        """Return 0 for ``value``, None for other measures."""
        return {"value": 0.0}.get(measure)

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return ``value``, and for either order the scores and whether decisions stay the same (percentage,)."""
        order = ranking(case)
        morf, morf_same = self._curves(case, order)
        lerf, lerf_same = self._curves(case, order.reversed())
        value = float(np.mean(lerf) - np.mean(morf))
        return {"value": value, "morf": morf, "lerf": lerf, "morf_same": morf_same, "lerf_same": lerf_same}

    def _curves(self, case: Case, order: Ranking) -> tuple[Array, Array]:
        """Compute the scores, and 1 where the decision stays the same (percentage,)."""
        assert case.batch is not None
        assert case.prediction is not None
        variants = self.removing(case.batch, order)
        results = predictions(case.batch, variants, len(self.params.percentages))
        scores = [self.score(case, prediction) for prediction in results]
        same = np.array([float(prediction.decision == case.prediction.decision) for prediction in results])
        if case.batch.region is not None:
            same[:] = np.nan
        return np.array(scores), same

    def removing(self, batch: Batch, order: Ranking) -> Callable[[slice], Tensor]:
        """Return variants (m, c, *space) of the image without the first pixels of an order, by percentage."""
        image = batch.images[0].cpu().double().numpy()
        noise = self.params.noise * generator(batch.seed, batch.ids[0], "road").standard_normal(image.shape)

        def variant(percentage: float) -> Array:
            # Rounded first: the product of floats for 2.3 % of 100,000 is below 2,300.
            missing = order.ranks < floor(round(percentage * order.count / 100, 6))
            return np.where(missing, imputed(image, missing) + noise, image)

        percentages = self.params.percentages
        return lambda piece: torch.from_numpy(np.stack([*map(variant, percentages[piece])])).to(batch.images)
