"""Reads checkpoints and loads them into networks; a file that holds code is refused, and nothing of it is executed."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from heatproof.errors import ModelError


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load a checkpoint (safetensors, or a plain state dictionary of torch) into ``network``; no code is executed.

    Raises ``ModelError`` when the file is no checkpoint, holds anything but tensors, or has other keys or shapes.
    """
    state = read_weights(path)
    needed = network.state_dict()
    missing = sorted(needed.keys() - state.keys())
    unknown = sorted(state.keys() - needed.keys())
    if missing or unknown:
        raise ModelError(
            f"checkpoint {path} does not fit the network: {len(missing)} keys missing{_example(missing)}, "
            f"{len(unknown)} unknown{_example(unknown)}; give a checkpoint of this architecture."
        )
    for name, value in needed.items():
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
