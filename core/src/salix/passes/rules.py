"""Gradients of which only positive parts pass activations: guided backpropagation and DeconvNet.

They take a forward of their own: kept for them, the forward of the plain gradient would double the memory of all
passes that follow.
"""

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..errors import ModelError
from ..model import Model
from ..records import Verdict
from ..rectification import RECTIFIED, ActPolicy, Cell, Rule
from .gradient import derived, leaf


def rectified(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """The gradient of the images (n, c, *space) under a rule: guided backpropagation or DeconvNet.

    ``act_policy`` says which activations the rule acts on: all of them, or ReLU only. Raises ``ModelError`` where it
    would act on none, since the map would silently be the plain gradient.
    """

    def compute() -> Tensor:
        return torch.cat([_rectified(piece, rule, act_policy) for piece in batch.pieces()])

    return batch.once(("rectified", rule, act_policy), compute)


def _rectified(batch: Batch, rule: Rule, act_policy: ActPolicy) -> Tensor:
    images, cell = leaf(batch), Cell(act_policy)
    with torch.enable_grad():
        scores, _ = batch.forward(images, cell=cell)
        with cell.under(rule):
            (found,) = derived(batch, scores, [images])
    if rule != "gradient" and not cell.rectified:
        raise ModelError(f"{rectification(batch.model, act_policy).reason or _unreached(batch)}.")
    return found


def _unreached(batch: Batch) -> str:
    return f"no activation of {batch.model.short} lies between the image and the output {batch.output!r}"


def rectification(model: Model, act_policy: ActPolicy = "all") -> Verdict:
    """Whether rectified gradients are defined on a model: exact where every activation is a ReLU."""
    outline = model.outline
    if outline.reason:
        return Verdict(
            "undefined", f"no activation of {model.short} can be rectified: it cannot be traced ({outline.reason})"
        )
    kinds = {kind.__name__: issubclass(kind, RECTIFIED[act_policy]) for kind in outline.activations}
    others = ", ".join(sorted(kind.__name__ for kind in set(outline.activations) if not issubclass(kind, nn.ReLU)))
    if not any(kinds.values()):
        has = f"its activations are {others}; act_policy: all rectifies them" if others else "it has no activation"
        return Verdict("undefined", f"nothing in {model.short} can be rectified: {has}")
    if not others:
        return Verdict("exact")
    if act_policy == "relu_only":
        return Verdict("approximate", f"{others} of {model.short} keep their plain derivative")
    return Verdict("approximate", f"on {others} of {model.short} the rule is a definition, not a fact")
