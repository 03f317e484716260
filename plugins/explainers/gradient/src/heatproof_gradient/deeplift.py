"""DeepLIFT with the rescale rule."""

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

from .multipliers import exactness, multipliers


class DeepLiftParams(Params):
    """``baseline``: the value of the constant reference image, in prepared units."""

    baseline: float = Field(default=0.0, ge=-1e6, le=1e6)


class DeepLift(Explainer[DeepLiftParams]):
    """The contribution of each value's difference from a reference to the score (Shrikumar et al. 2017).

    The map is image minus reference, times multipliers. Multipliers pass activations as quotients of differences (the
    rescale rule), and max pools by the positions of both maxima (the first of equal ones). The map sums to the
    difference of the scores of image and reference; the note ``completeness_gap`` is the error of that sum.
    """

    revision = 2
    traits = frozenset({"signed", "complete"})
    passes = (2, 1)

    def verdict(self, model: Model) -> Verdict:
        """Exact if everything except activations and max pools is linear."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return exactness(model)

    def baseline(self, batch: Batch) -> Tensor:
        """The constant reference images (n, c, *space)."""
        return torch.full_like(batch.images, self.params.baseline)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        result = multipliers(batch, self.params.baseline)
        values = (batch.images - self.baseline(batch)) * result.values
        gap = values.flatten(1).sum(1) - result.gain
        return Explanation(values, notes={"completeness_gap": gap.tolist()})
