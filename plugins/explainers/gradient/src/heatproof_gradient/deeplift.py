"""DeepLIFT with the rescale rule."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

from .multipliers import exactness, multipliers
from .references import ReferenceParams, references


class DeepLift(Explainer[ReferenceParams]):
    """The contribution of each value's difference from a reference to the score (Shrikumar et al. 2017).

    The map is image minus reference, times multipliers; of several references it is the mean over them, as captum's
    DeepLiftShap (Lundberg and Lee 2017). Multipliers pass activations as quotients of differences (the
    rescale rule), and max pools by the positions of both maxima (the first of equal ones). The map sums to the
    difference of the scores of image and reference; the note ``completeness_gap`` is the error of that sum.
    """

    revision = 2
    passes = (2, 1)

    @property
    def traits(self) -> frozenset[str]:
        """Complete; signed or, for random references, seeded."""
        return frozenset({"complete"}) | self.params.traits

    def verdict(self, model: Model) -> Verdict:
        """Exact if everything except activations and max pools is linear."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return exactness(model)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """``passes``, once per reference."""
        return 2 * self.params.count, self.params.count

    def content(self) -> str:
        """The digest of the files of a folder of references."""
        return self.params.content()

    def baseline(self, batch: Batch) -> Tensor:
        """The first reference images (n, c, *space)."""
        return next(references(batch, self.params)).images.expand_as(batch.images)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        values = torch.zeros_like(batch.images)
        gap = torch.zeros_like(batch.images.flatten(1)[:, 0])
        for reference in references(batch, self.params):
            result = multipliers(batch, reference)
            part = (batch.images - reference.images) * result.values
            values = values + part / self.params.count
            gap = gap + (part.flatten(1).sum(1) - result.gain) / self.params.count
        return Explanation(values, notes={"completeness_gap": gap.tolist()})
