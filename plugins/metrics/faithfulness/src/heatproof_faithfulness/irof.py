"""IROF: the score while superpixels are replaced one by one, most relevant first."""

import numpy as np
from pydantic import Field
from scipy.integrate import trapezoid

from heatproof.errors import Undefined
from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array
from heatproof_superpixels.segmentation import superpixels

from .perturbation import Baseline, Faithfulness, FaithfulnessParams, replacement
from .ranking import ranked


class IrofParams(FaithfulnessParams):
    """About how many superpixels (``segments``) there are, and the ``baseline`` that replaces them, as for deletion.

    ``compactness`` is SLIC's: the larger, the squarer. A logit has a curve only where that of the image is positive.
    """

    segments: int = Field(100, ge=2, le=100_000)
    compactness: float = Field(10.0, gt=0, le=1e6)
    baseline: Baseline = "mean"
    sigma: float = Field(5.0, gt=0, le=1000)


class Irof(Faithfulness[IrofParams]):
    """How soon does the score fall when whole superpixels are replaced, most relevant first? (IROF)

    ``curve`` is the score relative to that of the image, 1 at the start, and stays constant once all superpixels are
    replaced. ``value`` is the area over the curve of a width of 1, at most 1: the larger the better. Where SLIC finds
    more than ``segments`` superpixels, some steps replace several, so that no image takes more passes.

    Rieger and Hansen, "IROF: a low resource evaluation metric for explanation methods", ICLR workshop on AI for
    Affordable Healthcare 2020.
    """

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one forward per superpixel."""
        return self.params.segments, 0

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return ``value`` and ``curve`` (segments + 1,); raises ``Undefined`` for an image of one superpixel."""
        assert case.batch is not None
        params = self.params
        regions = superpixels(case.batch.images[0].cpu().double().numpy(), params.segments, params.compactness)
        order = ranked(case, regions)
        if order.count == 1:
            raise Undefined("SLIC finds only one superpixel in the field: there is nothing to rank")
        whole = self.image_score(case)
        if whole <= 0:
            raise Undefined(f"the {params.of} of the image is {whole:.4g}: no score is a share of it")
        steps = min(order.count, params.segments)
        counts = -(-np.arange(1, steps + 1) * order.count // steps)
        baseline = replacement(case, params.baseline, params.sigma)
        curve = np.array([whole, *self.scores(case, order, counts, baseline)]) / whole
        value = 1 - trapezoid(curve, np.array([0, *counts]) / order.count)
        return {"value": float(value), "curve": np.pad(curve, (0, params.segments - steps), mode="edge")}
