"""Attention spelled out in products and a softmax, so that a traced graph holds its weights and rules can follow it.

Fused functions (``scaled_dot_product_attention``) and the fast paths of ``nn.MultiheadAttention`` and
``nn.TransformerEncoder`` compute the same without ever naming the weights.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

FUSED = functional.scaled_dot_product_attention


def attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, *, node: Callable[..., Any],
) -> Any:  # fmt: skip
    """softmax(query keyᵀ · scale + mask) value, as torch's ``scaled_dot_product_attention`` computes it.

    ``node(function, *arguments)`` calls a function that is no operation of torch as one node of the graph.
    """
    scores = query.matmul(key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = node(masked, scores, attn_mask)
    return scores.softmax(-1).matmul(value)


def masked(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores of attention with a mask: what is added to them, or of bool where they count."""
    if mask.dtype.is_floating_point:
        return scores + mask
    return scores.masked_fill(~mask, -float("inf"))


def is_spelled(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: Any = 0.0, is_causal: Any = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> bool:  # fmt: skip
    """Whether ``attention`` computes a call of the fused function: no dropout, no causal mask and no shared heads."""
    return isinstance(dropout_p, (int, float)) and dropout_p == 0 and is_causal is False and not enable_gqa


def _multihead(module: nn.MultiheadAttention, query: Any, *others: Any, **keywords: Any) -> tuple[Any, Any]:
    """Self-attention of several heads on (n, token, channel), or (token, n, channel) without ``batch_first``."""
    heads = module.num_heads
    width = module.embed_dim // heads
    joined: Any = functional.linear(query, module.in_proj_weight, module.in_proj_bias)
    if not module.batch_first:
        joined = joined.transpose(0, 1)
    split = joined.unflatten(-1, (3, heads, width)).permute(2, 0, 3, 1, 4)
    scores = split[0].matmul(split[1].transpose(-2, -1)) * width**-0.5
    weights = scores.softmax(-1)
    result = weights.matmul(split[2]).transpose(1, 2).flatten(2)
    if not module.batch_first:
        result = result.transpose(0, 1)
    settings = dict(zip(ARGUMENTS, others[2:])) | keywords
    if not settings.get("need_weights", True):
        return module.out_proj(result), None
    return module.out_proj(result), weights.mean(1) if settings.get("average_attn_weights", True) else weights


ARGUMENTS = ("key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
"""The arguments of ``nn.MultiheadAttention`` after query, key and value."""


def _is_plain(module: nn.MultiheadAttention, *arguments: Any, **keywords: Any) -> bool:
    """Whether a call is self-attention without masks, dropout or added keys."""
    settings = dict(zip(("query", "key", "value", *ARGUMENTS), arguments)) | keywords
    masks = (settings.get("key_padding_mask"), settings.get("attn_mask"), module.bias_k)
    masked_or_added = module.add_zero_attn or any(item is not None for item in masks)
    same = settings["query"] is settings["key"] is settings["value"]
    return same and module._qkv_same_embed_dim and not masked_or_added


def _encoder_layer(
    layer: Any, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
) -> Any:
    """A layer of a transformer's encoder without its fast path."""
    attended = partial(layer._sa_block, attn_mask=src_mask, key_padding_mask=src_key_padding_mask, is_causal=is_causal)
    if layer.norm_first:
        src = src + attended(layer.norm1(src))
        return src + layer._ff_block(layer.norm2(src))
    src = layer.norm1(src + attended(src))
    return layer.norm2(src + layer._ff_block(src))


def _encoder(
    encoder: nn.TransformerEncoder, src: Any, mask: Any = None, src_key_padding_mask: Any = None,
    is_causal: bool | None = None,
) -> Any:  # fmt: skip
    """The layers of a transformer's encoder one after the other, without its fast path."""
    for layer in encoder.layers:
        src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
    return src if encoder.norm is None else encoder.norm(src)


SPELLINGS: Mapping[type[nn.Module], Callable[..., Any]] = {
    nn.MultiheadAttention: _multihead, nn.TransformerEncoderLayer: _encoder_layer, nn.TransformerEncoder: _encoder,
}  # fmt: skip
"""Class of torch → its forward in evaluation mode, in operations that can be traced."""


def spelling(module: nn.Module, *arguments: Any, **keywords: Any) -> Callable[..., Any] | None:
    """The forward that spells a call of a module out; None if there is none, or the module has a forward of its own."""
    forward = SPELLINGS.get(type(module))
    if forward is None or "forward" in vars(module):
        return None
    if isinstance(module, nn.MultiheadAttention) and not _is_plain(module, *arguments, **keywords):
        return None
    return partial(forward, module)
