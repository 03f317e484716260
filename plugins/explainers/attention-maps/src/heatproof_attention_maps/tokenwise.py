"""The base class of explainers whose map has one value per token of the image."""

import math
from abc import abstractmethod
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial dimensions → the name of linear interpolation in torch."""


class TokenwiseParams(Params):
    """``interpolation`` brings the grid of tokens to the image: ``linear`` (corners not aligned), or ``nearest``."""

    interpolation: Literal["linear", "nearest"] = "linear"


P = TypeVar("P", bound=TokenwiseParams, covariant=True)


class Tokenwise(Explainer[P]):
    """A map from the weights of every self-attention, as far as the tokens that the output reads go back to others.

    The row of a network that reads several tokens (class and distillation, or all that it averages) is the mean of
    theirs. Tokens of class, distillation and registers have no pixels and are left out at the end.
    """

    requires = frozenset({"self_attention"})
    memory = 3.0  # the weights of all attentions are kept at once

    def verdict(self, model: Model) -> Verdict:
        """Exact where all attention is among the same tokens, those of the image and few others; else undefined."""
        reason = refusal(model)
        return (
            Verdict("undefined", f"{self.short} is not defined on {model.short}: {reason}")
            if reason
            else super().verdict(model)
        )

    @abstractmethod
    def relevance(self, batch: Batch) -> Tensor:
        """The relevance (n, token) of the tokens before the first attention."""
        raise NotImplementedError

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        tokens: Any = batch.model.outline.tokens
        grid = batch.model.outline.cells(batch.space)
        if not grid:
            raise ModelError(
                f"the grid of tokens of {batch.model.short} is not known for images of "
                f"{' × '.join(map(str, batch.space))}; set the model's size to theirs."
            )
        relevance = torch.cat(batch.pieced(self.relevance))
        maps = relevance[:, tokens.prefix :].reshape(len(batch), 1, *grid)
        largest = maps.flatten(1).amax(1)
        smallest = maps.flatten(1).amin(1)
        return Explanation(
            self._resized(maps, batch.space), notes={"degenerate": (largest == smallest).double().tolist()}
        )

    def _resized(self, maps: Tensor, space: tuple[int, ...]) -> Tensor:
        if self.params.interpolation == "nearest":
            return functional.interpolate(maps, size=space, mode="nearest")
        return functional.interpolate(maps, size=space, mode=LINEAR[len(space)], align_corners=False)


def refusal(model: Model) -> str:
    """Why weights of attention cannot be followed from the output to the image; empty if they can."""
    outline = model.outline
    if not outline.attentions:
        return f"it has no self-attention{f' that can be observed ({outline.reason})' if outline.reason else ''}"
    hidden = [name for name, shape in outline.attentions.items() if not shape]
    if hidden:
        return f"the weights of its attention {hidden[0]!r} are inside one function and cannot be observed"
    windowed = [(name, shape) for name, shape in outline.attentions.items() if len(shape) != 4 or shape[0] != 1]
    if windowed:
        name, shape = windowed[0]
        return f"its attention {name!r} is inside {shape[0]} windows, so no token goes back to all of the image"
    tokens = outline.tokens
    if tokens is None:
        return "the tokens that it pools are not the cells of a grid over the image"
    if not tokens.read:
        return "its last attention pools the tokens by a query of its own"
    count = tokens.prefix + math.prod(tokens.grid)
    others = [(name, shape) for name, shape in outline.attentions.items() if shape[2:] != (count, count)]
    if others:
        name, shape = others[0]
        return f"its attention {name!r} is {shape[2]} × {shape[3]}, not among its {count} tokens"
    return ""


def reading(batch: Batch, like: Tensor) -> Tensor:
    """The mean over the tokens that the output reads, as a row (n, 1, token) of weights like those of an attention."""
    tokens: Any = batch.model.outline.tokens
    row = like.new_zeros(len(batch), 1, like.shape[-1])
    row[..., list(tokens.read)] = 1 / len(tokens.read)
    return row


def names(model: Model) -> list[str]:
    """The layers of a model that hold weights of attention, in order."""
    return list(model.outline.attentions)
