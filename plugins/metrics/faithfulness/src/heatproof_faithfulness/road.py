"""ROAD: the score after pixels are removed so that their removal itself leaves no trace."""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array, Prediction
from heatproof.seeding import generator

from .imputation import imputed
from .perturbation import Faithfulness, FaithfulnessParams, predictions
from .ranking import Ranking, ranking

Percentage = Annotated[float, Field(gt=0, lt=100)]


class RoadParams(FaithfulnessParams):
    """These ``percentages`` of the pixels are removed; to imputed values is added normal noise of standard deviation
    ``noise``, in prepared units.
    """

    percentages: tuple[Percentage, ...] = Field((10, 20, 30, 40, 50, 60, 70, 80, 90), min_length=1)
    noise: float = Field(0.01, ge=0, allow_inf_nan=False)


class Road(Faithfulness[RoadParams]):
    """Remove and debias: removed pixels become the weighted means of their neighbours and a little noise.

    A constant in their place would tell the model their outline. ``morf`` and ``lerf`` are the scores after each
    percentage of the most, or the least, relevant pixels is removed, ``morf_same`` and ``lerf_same`` are 1 where the
    model's decision is still that on the image itself: their means over cases are the accuracies of the paper where
    the model was right. ``value`` is the mean of ``lerf`` less that of ``morf``, in [-1, 1] for probabilities, the
    larger the better; a random heatmap, whose most and least relevant pixels are alike, is expected to reach 0.

    Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022.
    """

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Two forwards per percentage."""
        return 2 * len(self.params.percentages), 0

    def expected(self, measure: str) -> float | None:
        """0 for ``value``."""
        return 0.0 if measure == "value" else None

    def measure(self, case: Case) -> dict[str, float | Array]:
        """``value``, and of either order the scores and sameness (percentage,)."""
        order = ranking(case)
        morf, lerf = (self._curves(case, each) for each in (order, order.reversed()))
        value = float(np.mean(lerf[0]) - np.mean(morf[0]))
        return {"value": value, "morf": morf[0], "lerf": lerf[0], "morf_same": morf[1], "lerf_same": lerf[1]}

    def _curves(self, case: Case, order: Ranking) -> tuple[Array, Array]:
        """The scores, and whether the decision stays the same."""
        assert case.batch is not None
        assert case.prediction is not None
        variants, own = self.removing(case.batch, order), case.prediction.decision
        found: Sequence[Prediction] = predictions(case.batch, variants, len(self.params.percentages))
        same = [float(one.decision == own) for one in found]
        return np.array([self.score(case, one) for one in found]), np.array(same)

    def removing(self, batch: Batch, order: Ranking) -> Callable[[slice], Tensor]:
        """The image (m, c, *space) without the first pixels of an order, for some of the percentages."""
        image = batch.images[0].cpu().double().numpy()
        noise = self.params.noise * generator(batch.seed, batch.ids[0], "road").standard_normal(image.shape)

        def made(percentage: float) -> Array:
            missing = order.places < int(percentage * order.count / 100)
            return np.where(missing, imputed(image, missing) + noise, image)

        return lambda piece: torch.from_numpy(np.stack([*map(made, self.params.percentages[piece])])).to(batch.images)
