"""The scores of a batch's images, and of a constant image, by forward passes alone."""

import torch
from torch import Tensor

from ..batch import Batch


def logits(batch: Batch) -> Tensor:
    """The explained output (n, class), by one forward pass without gradients."""

    @torch.no_grad()
    def compute() -> Tensor:
        return torch.cat(batch.pieced(lambda piece: piece.forward()[0]))

    return batch.once("logits", compute)


def constant_scores(batch: Batch, value: float) -> Tensor:
    """The targets' scores (n,) of an image that is ``value`` everywhere; one forward of one image where it can be."""

    def compute() -> Tensor:
        rows = batch if batch.inputs else batch.select([0])
        found = logits(rows.at(torch.full_like(rows.images, value)))
        return batch.pick(found.expand(len(batch), -1))

    return batch.once(("constant scores", value), compute)
