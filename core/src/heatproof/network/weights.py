"""The weights of a network: told apart and shared."""

import hashlib

import torch
from torch import Tensor, nn

from ..digests import digest


def tensors(network: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a network, shared ones as often as they are used.

    ``network.parameters()`` gives each once and tells its name, which takes several times as long.
    """
    return [
        tensor
        for module in network.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]


def share(module: nn.Module, other: nn.Module) -> None:
    """Put the tensors that equal those of the same name in another module into the memory of these."""
    known = dict([*other.named_parameters(), *other.named_buffers()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in known and torch.equal(tensor, known[name]):
            tensor.data = known[name].data


def network_digest(network: nn.Module) -> str:
    """The digest of what a network is made of and of every parameter and buffer by name, on whatever device.

    Classes and settings of modules enter as they describe themselves; what their code does is not looked at.
    """
    modules = [
        [name, f"{type(module).__module__}.{type(module).__qualname__}", module.extra_repr()]
        for name, module in network.named_modules()
    ]
    return digest([modules, weights_digest(network)])


def weights_digest(network: nn.Module) -> str:
    """The digest of every parameter and buffer of a network by name, on whatever device."""
    values = dict([*network.named_parameters(), *network.named_buffers()])
    return digest({name: _content(tensor) for name, tensor in values.items()})


def _content(tensor: Tensor) -> list[str]:
    """A tensor's dtype, shape and digest of its bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    content = hashlib.blake2b(flat.numpy().tobytes(), digest_size=16).hexdigest()
    return [str(tensor.dtype), str(tuple(tensor.shape)), content]
