"""CLEAR response and class maps."""

from typing import Literal

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import REDUCTIONS, Explainer
from heatproof.model import Model
from heatproof.records import Array, Explanation, Verdict
from heatproof_shared_passes.rectification import ActPolicy, rectification

from .responses import responses

BACKGROUND = -1
"""The class of a pixel to which no class responds."""


class ClearParams(Params):
    """The ``map`` that is the heatmap, and the ``reduction`` of channels before classes are compared.

    ``act_policy`` selects the activations that the back-projection rectifies: ``all`` or ``relu_only``.
    """

    map: Literal["response", "class"] = "response"
    reduction: Literal["max", "abs_max", "sum", "l2"] = "max"
    act_policy: ActPolicy = "all"


class Clear(Explainer[ClearParams]):
    """The class that responds most at each pixel, and its response (Kumar, Wong and Taylor 2017).

    Each class is projected back through the network separately, as by DeconvNet, and the channels of its map are
    reduced. The response map is the largest of these maps at each pixel. The class map is the class of that maximum:
    the lowest class of a tie, and -1 where the maximum is not positive. Both maps are the same for all targets. The map
    that is not the heatmap is stored beside it. The note ``degenerate`` is 1 if the response is zero everywhere.
    """

    revision = 2

    @property
    def traits(self) -> frozenset[str]:
        """Targetless; only the response map is differentiable."""
        if self.params.map == "response":
            return frozenset({"targetless", "differentiable"})
        return frozenset({"targetless"})

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined, depending on the model's activations."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return rectification(model, self.params.act_policy)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """One forward, and one backward per class."""
        if model.head in ("ordinal", "regression"):
            return 1, 1
        return 1, len(model.classes)

    def stored(self, image: Array) -> int:
        """The other map."""
        return int(image[0].nbytes)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        gradients = responses(batch, "deconv", self.params.act_policy)
        reduce = REDUCTIONS[self.params.reduction]
        reduced = reduce(gradients.flatten(0, 1)).reshape(*gradients.shape[:2], *batch.space)
        response, classes = dominant(reduced)
        maps = {"response": response, "class": classes.to(response)}
        values = maps.pop(self.params.map)[:, None]
        degenerate = (response.detach() == 0).flatten(1).all(1)
        return Explanation(values, {"degenerate": degenerate.double().tolist()}, maps)


def dominant(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of the class maps (n, class, *space) at each pixel and its class, both (n, *space)."""
    response, classes = maps.max(1)
    return response, torch.where(response > 0, classes, BACKGROUND)
