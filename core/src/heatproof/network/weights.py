"""The weights of a network: listing them, sharing their memory, and computing their digest."""

import hashlib

import torch
from torch import Tensor, nn

from ..digests import digest


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


def network_digest(network: nn.Module) -> str:
    """The digest of a network's weights and of the class and ``extra_repr()``, but not the code, of each module."""
    modules = [
        [name, f"{type(module).__module__}.{type(module).__qualname__}", module.extra_repr()]
        for name, module in network.named_modules()
    ]
    return digest([modules, weights_digest(network)])


def weights_digest(network: nn.Module) -> str:
    """The digest of a network's parameters and buffers by name, on any device."""
    values = dict([*network.named_parameters(), *network.named_buffers()])
    return digest({name: _content(tensor) for name, tensor in values.items()})


def _content(tensor: Tensor) -> list[str]:
    """A tensor's dtype, shape and digest of its bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    content = hashlib.blake2b(flat.numpy().tobytes(), digest_size=16).hexdigest()
    return [str(tensor.dtype), str(tuple(tensor.shape)), content]
