"""CLEAR response and class maps."""

from typing import Literal

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import REDUCTIONS, Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict
from heatproof_shared_passes.rectification import ActPolicy, rectification

from .responses import responses

BACKGROUND = -1
"""The class of a pixel that no class responds to."""


class ClearParams(Params):
    """Which of the two maps is the heatmap, how channels are reduced before classes meet, and where the rule acts.

    ``act_policy``: the activations that the back-projection rectifies, ``all`` or ``relu_only``.
    """

    map: Literal["response", "class"] = "response"
    reduction: Literal["max", "abs_max", "sum", "l2"] = "max"
    act_policy: ActPolicy = "all"


class Clear(Explainer[ClearParams]):
    """Which class each pixel speaks for most, and how loudly (Kumar, Wong and Taylor 2017).

    Every class is sent back through the network alone, as by DeconvNet, and its channels are reduced. The response map
    is the largest of these maps at each pixel; the class map says whose it is: the lowest class where several share it,
    -1 where it is not positive. Both are the same whatever the target. The map that is not the heatmap is kept; the
    note ``degenerate`` is 1 where the response is zero everywhere.
    """

    @property
    def traits(self) -> frozenset[str]:
        """One map for all targets; a loss reaches the weights through the response map only."""
        return frozenset({"targetless", "differentiable"} if self.params.map == "response" else {"targetless"})

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined by the model's activations."""
        verdict = super().verdict(model)
        return verdict if verdict.level == "undefined" else rectification(model, self.params.act_policy)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """One forward, and a backward for every class."""
        return 1, 1 if model.head in ("ordinal", "regression") else len(model.classes)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        found = responses(batch, "deconv", self.params.act_policy)
        reduced = REDUCTIONS[self.params.reduction](found.flatten(0, 1)).reshape(*found.shape[:2], *batch.space)
        response, classes = dominant(reduced)
        maps = {"response": response, "class": classes.to(response)}
        values = maps.pop(self.params.map)[:, None]
        dark = (response.detach() == 0).flatten(1).all(1)
        return Explanation(values, {"degenerate": dark.double().tolist()}, maps)


def dominant(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each pixel's class maps (n, class, *space), and its class, as (n, *space) each."""
    response, classes = maps.max(1)
    return response, torch.where(response > 0, classes, BACKGROUND)
