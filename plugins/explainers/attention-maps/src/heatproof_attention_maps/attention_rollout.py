"""Attention rollout."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch

from .tokenwise import Tokenwise, TokenwiseParams, names, reading

HEADS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda weights: weights.mean(1),
    "max": lambda weights: weights.amax(1),
    "min": lambda weights: weights.amin(1),
}
"""How the heads of weights (n, head, token, token) become one."""


class AttentionRolloutParams(TokenwiseParams):
    """``heads``: the ``mean``, ``max`` or ``min`` over the heads of an attention.

    ``discard``: the share of the smallest weights of each attention that are set to zero, 0 in the paper.
    ``residual``: the weight of the connection around the attention, 0.5 in the paper. ``interpolation`` brings the grid
    of tokens to the image: ``linear`` (corners not aligned), or ``nearest``.
    """

    heads: Literal["mean", "max", "min"] = "mean"
    discard: Annotated[float, Field(ge=0, lt=1)] = 0.0
    residual: Annotated[float, Field(ge=0, lt=1)] = 0.5


class AttentionRollout(Tokenwise[AttentionRolloutParams]):
    """The product of all attentions, each mixed with the connection around it (Abnar and Zuidema 2020).

    Of an attention A with its heads fused, the rows of (1 - residual) A + residual I are divided by their sums; the map
    is the row of the token that the output reads in the product of all of them, last one first. It is the same for
    every target and never negative. ``heads`` and ``discard`` are those of Gildenblat 2020 (vit-explain): a share of
    the smallest weights becomes zero, but never that of the first token for itself, where tokens precede the image's.
    Its code divides columns by the sums of rows, which this does not.
    """

    traits = frozenset({"targetless"})
    passes = (1, 0)

    @torch.no_grad()
    def relevance(self, batch: Batch) -> Tensor:
        """The row of the rollout (n, token)."""
        layers = names(batch.model)
        _, weights = batch.forward(capture=layers)
        row = reading(batch, weights[layers[-1]])
        for name in reversed(layers):
            row = row @ self.mixed(weights[name], _prefix(batch) > 0)
        return row[:, 0]

    def mixed(self, weights: Tensor, protected: bool) -> Tensor:
        """The attention (n, token, token) with the connection around it, from weights (n, head, token, token).

        The weight of the first token for itself is never discarded if it is ``protected``.
        """
        fused = HEADS[self.params.heads](weights)
        flat = fused.flatten(1)
        discarded = int(flat.shape[1] * self.params.discard)
        if discarded:
            smallest = flat.topk(discarded, 1, largest=False).indices
            thinned = flat.scatter(1, smallest, 0)
            if protected:
                thinned[:, 0] = flat[:, 0]
            fused = thinned.reshape(fused.shape)
        residual = self.params.residual
        mixture = (1 - residual) * fused + residual * torch.eye(fused.shape[-1]).to(fused)
        return mixture / mixture.sum(-1, keepdim=True).clamp_min(torch.finfo(mixture.dtype).tiny)


def _prefix(batch: Batch) -> int:
    """The number of tokens before those of the image."""
    tokens = batch.model.outline.tokens
    return 0 if tokens is None else tokens.prefix
