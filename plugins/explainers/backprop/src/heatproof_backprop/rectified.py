"""What guided backpropagation and DeconvNet share."""

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
    """``act_policy``: the activations that the rule acts on, ``all`` or ``relu_only``."""

    act_policy: ActPolicy = "all"


class Rectified(Explainer[RectifiedParams]):
    """A gradient of which only positive parts pass backwards through activations.

    Exact where every activation is a ReLU. On others it is a definition rather than a fact, and undefined where nothing
    would be rectified: the map would be the plain gradient under another name.
    """

    rule: ClassVar[Rule]
    traits = frozenset({"differentiable"})

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined by the model's activations."""
        verdict = super().verdict(model)
        return verdict if verdict.level == "undefined" else rectification(model, self.params.act_policy)

    def requests(self, model: Model) -> tuple[Request, ...]:
        """Its one rule."""
        return (request(self.rule, self.params.act_policy),)

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        return rectified(batch, self.rule, self.params.act_policy)
