"""Agreement of heatmaps with annotations as a part of the loss."""

from typing import Literal

from torch import Tensor

from heatproof.explainer import Explainer
from heatproof_objectives.step import Step

from .additional import Additional, HeatmapTermParams
from .annotated import targets
from .distances import MEASURES, Measure
from .maps import heatmaps


class AgreementParams(HeatmapTermParams):
    """The explainer, and how the agreement of its heatmaps with the annotations is measured.

    ``explainer``: any with the trait ``differentiable``. ``measure``: what is minimised. ``mass`` is the share of the
    positive heat outside of the annotation, ``correlation`` 1 less Pearson's correlation, ``kl`` the divergence of the
    annotation from the heat in nats; ``bce`` and ``mse`` compare the positive heat, scaled to the range from 0 to 1,
    pixel by pixel. ``reduction``: how the channels of an explanation become one heatmap.
    """

    explainer: Explainer
    measure: Measure = "mass"
    reduction: Literal["max", "abs_max", "sum", "l2"] = "max"


class Agreement(Additional[AgreementParams]):
    """The loss of the base + weight · the disagreement of the label's heatmap with masks, boxes or gaze.

    The measure ``mass`` is the energy loss of Rao et al. 2023, "Studying How to Efficiently and Effectively Guide
    Models with Explanations", ICCV, for masks and boxes; ``correlation`` and ``kl`` compare with densities of gaze, as
    in Bylinskii et al. 2019, "What do different evaluation metrics tell us about saliency models?", IEEE Transactions
    on Pattern Analysis and Machine Intelligence 41. Images whose annotation is empty have no disagreement: it says of
    no pixel that it should be hot. Logged as ``base`` and ``disagreement``.
    """

    term_name = "disagreement"

    @property
    def explainer(self) -> Explainer:
        """The explainer whose heatmaps are compared."""
        return self.params.explainer

    def term(self, step: Step) -> Tensor:
        """The mean disagreement; raises ``DataError`` for a sample without label or annotation."""
        annotated = targets(step, self.params).marked()
        heat = heatmaps(self.params.explainer, step, self.params.reduction)
        return annotated.mean(MEASURES[self.params.measure](heat, annotated.maps))
