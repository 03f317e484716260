"""The explained output of a batch, from one forward pass."""

import torch
from torch import Tensor

from ..batch import Batch


def logits(batch: Batch) -> Tensor:
    """The explained output (n, class), computed once, by one forward pass without gradients."""
    return batch.summed(unsummed(batch))


def unsummed(batch: Batch) -> Tensor:
    """The explained output before it is summed over regions: (n, class), or (n, class, *grid) of logits per pixel."""

    @torch.no_grad()
    def compute() -> Tensor:
        return torch.cat(batch.pieced(lambda piece: piece.forward(summed=False)[0]))

    return batch.once("logits", compute)
