"""Gradient-weighted attention rollout."""

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import leaf

from .tokenwise import Tokenwise, TokenwiseParams, names, reading


class AttentionGradient(Tokenwise[TokenwiseParams]):
    """Attention weighted by its gradient, followed from the output to the image (Chefer et al. 2021, ICCV).

    The weights A of an attention with the gradient G of the target's score give E = mean over heads of max(G A, 0),
    and relevance is updated block by block as R + E R, from R = I. The map is the row of the token that the output
    reads, as in the authors' code for ViT without LRP; it is never negative.
    """

    traits = frozenset[str]()

    def relevance(self, batch: Batch) -> Tensor:
        """The row of the relevance (n, token)."""
        layers = names(batch.model)
        with torch.enable_grad():
            logits, weights = batch.forward(leaf(batch), layers)
            values = [weights[name] for name in layers]
            gradients = torch.autograd.grad(batch.pick(logits).sum(), values, materialize_grads=True)
        row = reading(batch, values[-1])
        for attention, gradient in zip(reversed(values), reversed(gradients)):
            row = row + row @ (gradient * attention.detach()).clamp_min(0).mean(1)
        return row[:, 0]
