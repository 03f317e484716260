"""The weights of a network: told apart, drawn anew, shared."""

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..digests import digest
from ..seeding import key


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


def redrawn(network: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """A copy whose ``modules`` have new weights, as their own ``reset_parameters`` draws them.

    Parameters of a module without it get normal values with their own mean and standard deviation.
    """
    made = copy.deepcopy(network)
    for name in modules:
        # On the processor, whose generator draws the same on every machine.
        fresh: Any = copy.deepcopy(made.get_submodule(name)).cpu()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(key(seed, "randomized", name) % 2**63)
            if hasattr(fresh, "reset_parameters"):
                fresh.reset_parameters()
            else:
                for parameter in fresh.parameters(recurse=False):
                    parameter.normal_(float(parameter.mean()), float(parameter.std(correction=0)))
        made.get_submodule(name).load_state_dict(fresh.state_dict())
    share(made, network)
    return made


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
    values = [[name, _content(tensor)] for name, tensor in [*network.named_parameters(), *network.named_buffers()]]
    return digest([modules, values])


def _content(tensor: Tensor) -> list[str]:
    """A tensor's dtype, shape and digest of its bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    content = hashlib.blake2b(flat.numpy().tobytes(), digest_size=16).hexdigest()
    return [str(tensor.dtype), str(tuple(tensor.shape)), content]
