"""The weights of a network: listing them, sharing their memory, and computing their digest."""

import hashlib
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..digests import digest
from ..sources import KINDS, content, described, source

STRUCTURE = {"training", "_parameters", "_buffers", "_modules", "_flat_weight_refs"}
"""Attributes of modules that are no settings."""
HOOKS = {name for name, value in vars(nn.Module()).items() if "_hooks" in name and isinstance(value, dict)}


def tensors(network: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a network, with duplicates; ``parameters()`` takes several times as long."""
    return [
        tensor
        for module in network.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside wrappers for several devices (``DataParallel``) and for compilation (``torch.compile``)."""
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrapped(network.module)
    original = getattr(network, "_orig_mod", None)
    return unwrapped(original) if isinstance(original, nn.Module) else network


def share(module: nn.Module, other: nn.Module) -> None:
    """Let the tensors of a module share memory with equal tensors of the same name in another module."""
    originals = dict([*other.named_parameters(), *other.named_buffers()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in originals and torch.equal(tensor, originals[name]):
            tensor.data = originals[name].data


def structure_digest(network: nn.Module) -> str:
    """The digest of everything of a network but its weights: of each module class, settings and unreleased source.

    Settings are the ``extra_repr()``, and all attributes and hooks of a module by value.
    """
    known = list(network.modules())
    modules = [
        [name, type(module).__qualname__, module.extra_repr(), content(type(module), _settings(module), known)]
        for name, module in network.named_modules()
    ]
    kinds = sorted({type(module) for module in known}, key=lambda kind: kind.__qualname__)
    return digest([modules, [source(kind) for kind in kinds]])


def _settings(module: nn.Module) -> dict[str, Any]:
    """What a module holds besides its mode, weights and children; hooks without their numbers, which processes count.

    Tensors that a pass has left, such as attention, are no settings.
    """
    values = {name: value for name, value in vars(module).items() if name not in STRUCTURE and not _is_result(value)}
    return values | {name: [*values[name].values()] for name in values if name in HOOKS}


def _is_result(value: Any) -> bool:
    return value is None or (isinstance(value, Tensor) and (value.is_inference() or value.grad_fn is not None))


def weights_digest(network: nn.Module) -> str:
    """The digest of a network's parameters and buffers by name, on any device."""
    values = dict([*network.named_parameters(), *network.named_buffers()])
    return digest({name: _content(tensor) for name, tensor in values.items()})


def _content(tensor: Tensor) -> list[str]:
    """A tensor's dtype, shape and digest of its bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    values = hashlib.blake2b(flat.numpy().data, digest_size=16).hexdigest()
    return [str(tensor.dtype), str(tuple(tensor.shape)), values]


def _module(value: nn.Module, memo: Any) -> Any:
    """A network as the source of a class that uses it contains it."""
    state = _settings(value) | {name: vars(value)[name] for name in ("_parameters", "_buffers", "_modules")}
    return ["network", described(type(value), memo), described(state, memo)]


KINDS.extend([
    (Tensor, lambda value, memo: ["tensor", *_content(value)]), (nn.Module, _module),
    (fx.Graph, lambda value, memo: ["graph", str(value)]),
])  # fmt: skip
