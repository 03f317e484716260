"""Reads checkpoints and loads them into networks; files that hold code are refused, and no code is executed."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from heatproof.errors import ModelError


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load a checkpoint (safetensors, or a plain state dictionary of torch) into ``network``; no code is executed.

    Raises ``ModelError`` where the file is not a checkpoint, holds anything but tensors, or has other keys or shapes.
    """
    state = read_weights(path)
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    if missing or unknown:
        raise ModelError(
            f"checkpoint {path} does not fit the network: keys missing: {len(missing)}{_example(missing)}, "
            f"unknown: {len(unknown)}{_example(unknown)}; give a checkpoint of this architecture."
        )
    for name, value in expected.items():
        if value.shape != state[name].shape:
            raise ModelError(
                f"checkpoint {path} does not fit the network: {name!r} has shape {tuple(state[name].shape)}, "
                f"the network needs {tuple(value.shape)}; give a checkpoint of this architecture."
            )
    network.load_state_dict(state)
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, with safetensors or torch's weights-only loader.

    Raises ``ModelError`` where the file is missing, cannot be loaded safely, or holds anything but tensors.
    """
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give the path of a .safetensors or .pt file.")
    read = load_file if path.suffix == ".safetensors" else _state_dictionary
    try:
        state = read(path)
    except Exception as error:  # unpickling an arbitrary file may raise any error
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely ({_first_line(error)}); give a safetensors file, or "
            "a state dictionary saved by torch that holds tensors only."
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state dictionary of tensors; save model.state_dict() and give that file.")
    return state


def _state_dictionary(path: Path) -> dict[str, Tensor]:
    """Load a state dictionary, plain or wrapped as {"state_dict": …}; empty where the file holds something else."""
    with warnings.catch_warnings():
        # Torch's warning about the pickle protocol does not help a user who gave the wrong file.
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        return {}
    wrapped = content.get("state_dict")
    if isinstance(wrapped, Mapping):
        return dict(wrapped)
    return dict(content)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[0][:160]


def _example(names: list[str]) -> str:
    if not names:
        return ""
    return f" (such as {names[0]!r})"
