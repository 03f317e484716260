"""DeepLIFT by the rescale rule."""

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
    """``baseline``: the constant reference image, in prepared units."""

    baseline: float = Field(default=0.0, allow_inf_nan=False)


class DeepLift(Explainer[DeepLiftParams]):
    """What each value's difference from a reference adds to the score (Shrikumar et al. 2017).

    Image less reference, times multipliers that pass activations as quotients of differences (rescale rule) and max
    pools by the places of both maxima (the first of equal ones). Values sum to the score less the reference's; by how
    much the sum misses it is the note ``completeness_gap``.
    """

    traits = frozenset({"signed", "complete"})
    passes = (2, 1)

    def verdict(self, model: Model) -> Verdict:
        """Exact where all but activations and max pools is linear."""
        verdict = super().verdict(model)
        return verdict if verdict.level == "undefined" else exactness(model)

    def baseline(self, batch: Batch) -> Tensor:
        """The constant reference images (n, c, *space)."""
        return torch.full_like(batch.images, self.params.baseline)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        found = multipliers(batch, self.params.baseline)
        values = (batch.images - self.baseline(batch)) * found.values
        gap = values.flatten(1).sum(1) - found.gained
        return Explanation(values, notes={"completeness_gap": gap.tolist()})
