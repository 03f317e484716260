"""The weights of a network: listing them, sharing their memory, and computing their digest."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from ..digests import digest
from ..sources import KINDS, content, described, source


def tensors(network: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a network, with duplicates; ``parameters()`` takes several times as long."""
    return [
        tensor
        for module in network.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]


def share(module: nn.Module, other: nn.Module) -> None:
    """Let the tensors of a module share memory with equal tensors of the same name in another module."""
    originals = dict([*other.named_parameters(), *other.named_buffers()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in originals and torch.equal(tensor, originals[name]):
            tensor.data = originals[name].data


def structure_digest(network: nn.Module) -> str:
    """The digest of everything of a network but its weights: of each module class, settings and unreleased source.

    Settings are the ``extra_repr()``, all attributes that are numbers or text, or tuples of these, and a ``forward``
    that only this module has.
    """
    modules = [
        [name, type(module).__qualname__, module.extra_repr(), _settings(module), _own_forward(module)]
        for name, module in network.named_modules()
    ]
    kinds = sorted({type(module) for module in network.modules()}, key=lambda kind: kind.__qualname__)
    return digest([modules, [source(kind) for kind in kinds]])


def _settings(module: nn.Module) -> list[list[str]]:
    """The names and values of a module's plain attributes, except of its mode."""
    plain = (bool, int, float, str, tuple)
    settings = [(name, value) for name, value in vars(module).items() if type(value) in plain and name != "training"]
    return [[name, repr(value)] for name, value in sorted(settings) if not isinstance(value, tuple) or _is_plain(value)]


def _own_forward(module: nn.Module) -> str:
    """The digest of a ``forward`` that was put into a module itself; empty if it has that of its class."""
    forward = vars(module).get("forward")
    return content(type(module), {"forward": getattr(forward, "__func__", forward)}) if forward else ""


def _is_plain(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, (bool, int, float, str)) for value in values)


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
    state = {name: entry for name, entry in vars(value).items() if name != "training"}
    return ["network", described(type(value), memo), described(state, memo)]


KINDS.extend([(Tensor, lambda value, memo: ["tensor", *_content(value)]), (nn.Module, _module)])
