"""The rectified gradients of all classes from one forward pass."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import derivatives, leaf
from heatproof_shared_passes.rectification import ActPolicy, Rectifying, Rule
from heatproof_shared_passes.rectified import require_rectified


def responses(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """The gradients of every class's score by the images (n, class, c, *space) under a rule, as ``Model.scores``.

    They take one forward and one backward per class and do not depend on the targets. Raises ``ModelError`` if the rule
    applies to no activation, since the maps would silently be plain gradients.
    """

    def compute() -> Tensor:
        return torch.cat(batch.pieced(lambda piece: _responses(piece, rule, act_policy)))

    return batch.once(("responses", rule, act_policy), compute)


def _responses(batch: Batch, rule: Rule, act_policy: ActPolicy) -> Tensor:
    images = leaf(batch)
    cell = Rectifying(act_policy)
    with torch.enable_grad():
        classes = batch.model.scores(batch.forward(images, cell=cell)[0]).unbind(1)
        with cell.under(rule):
            maps = [derivatives(batch, score, [images], again=score is not classes[-1])[0] for score in classes]
    require_rectified(batch, cell, rule, act_policy)
    return torch.stack(maps, 1)
