"""The rectified gradient of every class by itself, from one forward pass."""

import torch
from torch import Tensor

from ..batch import Batch
from ..rectification import ActPolicy, Rectifying, Rule
from .gradient import leaf
from .rules import require_rectified


def responses(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """The gradient of every class's score by the images (n, class, c, *space) under a rule; one logit is one class.

    One forward and one backward per class, whatever the targets. Raises ``ModelError`` where the rule would act on
    nothing, since the maps would silently be plain gradients.
    """

    def compute() -> Tensor:
        return torch.cat(batch.pieced(lambda piece: _responses(piece, rule, act_policy)))

    return batch.once(("responses", rule, act_policy), compute)


def _responses(batch: Batch, rule: Rule, act_policy: ActPolicy) -> Tensor:
    images, cell = leaf(batch), Rectifying(act_policy)
    with torch.enable_grad():
        totals = batch.forward(images, cell=cell)[0].sum(0).unbind()
        with cell.under(rule):
            found = [_response(batch, total, images, retain=total is not totals[-1]) for total in totals]
    require_rectified(batch, cell, rule, act_policy)
    return torch.stack(found, 1)


def _response(batch: Batch, total: Tensor, images: Tensor, retain: bool) -> Tensor:
    """The gradient of one class's scores; the graph stays for the next class, and for a training loss."""
    keep = batch.differentiable
    (found,) = torch.autograd.grad(
        total, [images], retain_graph=retain or keep, create_graph=keep, materialize_grads=True
    )
    return found
