"""The weights of a network: read from checkpoints, told apart, drawn anew, shared."""

import copy
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..digests import digest
from ..errors import ModelError
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


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load a checkpoint (safetensors, or a plain state dictionary of torch) into ``network``; no code is executed.

    Raises ``ModelError`` when the file is no checkpoint, holds anything but tensors, or has other keys or shapes.
    """
    state = read_weights(path)
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        raise ModelError(
            f"checkpoint {path} does not fit the network: {len(missing)} keys missing{_example(missing)}, "
            f"{len(unknown)} unknown{_example(unknown)}; give a checkpoint of this architecture."
        )
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise ModelError(
                f"checkpoint {path} does not fit the network: {name!r} has shape {tuple(state[name].shape)}, "
                f"the network needs {tuple(value.shape)}; give a checkpoint of this architecture."
            )
    network.load_state_dict(state)
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, read by safetensors or torch's weights-only loader."""
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give the path of a .safetensors or .pt file.")
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _state_dictionary(path)
    except Exception as error:  # any file may be given, and read as a pickle it may raise anything
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely ({_first_line(error)}); give a safetensors file, or "
            "a state dictionary saved by torch that holds tensors only."
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state dictionary of tensors; save model.state_dict() and give that file.")
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    return dict(load_file(path))


def _state_dictionary(path: Path) -> dict[str, Tensor]:
    """A state dictionary, also one wrapped as {"state_dict": …}."""
    with warnings.catch_warnings():
        # What torch has to say of a pickle's protocol helps nobody who gave the wrong file.
        warnings.simplefilter("ignore")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    return dict(loaded) if isinstance(loaded, Mapping) else {}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _example(names: list[str]) -> str:
    return f" (such as {names[0]!r})" if names else ""
