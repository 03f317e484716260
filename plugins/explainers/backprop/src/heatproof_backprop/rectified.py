"""The base class of guided backpropagation and DeconvNet."""

from typing import ClassVar

from torch import Tensor

from heatproof.batch import Batch, Request
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Verdict
from heatproof_shared_passes.rectification import ActPolicy, Rule, rectification
from heatproof_shared_passes.rectified import rectified, request


class RectifiedParams(Params):
    """``act_policy``: the activations that the rule rectifies, ``all`` or ``relu_only``."""

    act_policy: ActPolicy = "all"


class Rectified(Explainer[RectifiedParams]):
    """A gradient that passes activations backwards only where it is positive.

    Exact if every activation is a ReLU, for which the papers define the rule, however the network spells it:
    ``clamp(min=0)``, ``maximum(x, 0)``, ``where(x > 0, x, 0)``, ``x * (x > 0)`` and the like. Approximate for other
    activations, which the verdict names. Undefined if no activation is rectified, since the map would be the plain
    gradient. Normalisations, max pools and products keep their derivative.
    """

    revision = 2

    rule: ClassVar[Rule]
    traits = frozenset({"differentiable"})

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined, depending on the activations of the model."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return rectification(model, self.params.act_policy)

    def requests(self, model: Model) -> tuple[Request, ...]:
        """The request of its rule."""
        return (request(self.rule, self.params.act_policy),)

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        return rectified(batch, self.rule, self.params.act_policy)
