"""Reads the sets of weights in a file of safetensors or torch; objects of other classes stay empty, no code runs."""

import json
import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from heatproof.errors import ModelError

Weights = Mapping[str, Tensor]
DEPTH = 2
"""How many entries may lie above a set of weights, such as ``checkpoint`` and ``model``."""
CLASSES = "classes"
"""The key of the metadata of safetensors under which ``heatproof train`` writes the classes of the outputs, as JSON."""
MARK = "stands in for"
SAVE = "save its state dictionary where it was trained, by torch.save(model.state_dict(), path), and give that file."


class StandIn:
    """Takes the place of another class while a checkpoint is read: calling it runs nothing and keeps no argument."""

    def __new__(cls, *arguments: Any, **settings: Any) -> Any:
        """Make an ordered dictionary, the only type that torch lets a pickle fill with entries and attributes."""
        entries: OrderedDict[Any, Any] = OrderedDict()
        vars(entries)[MARK] = cls.__name__
        return entries


class NumberType:
    """Takes the place of numpy's types of numbers, whose state is no dictionary: numbers of a log are not read."""

    def __new__(cls, *arguments: Any) -> "NumberType":
        """Make an empty object; the arguments are dropped."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


def classes_of(path: Path) -> list[str]:
    """Read the classes that a checkpoint of safetensors names in its metadata; empty where it names none."""
    try:
        with safe_open(path, "pt") as file:
            classes = json.loads((file.metadata() or {}).get(CLASSES, "[]"))
    except (OSError, ValueError, SafetensorError):
        return []  # another kind of file, or one whose faults are told when its weights are read
    return [str(name) for name in classes] if isinstance(classes, list) else []


def sets_of_weights(path: Path) -> dict[str, Weights]:
    """Read the dictionaries of tensors in a file, by where they lie in it: ``""`` where the file is one.

    Raises ``ModelError`` where the file is missing, cannot be loaded safely, or holds no dictionary of tensors.
    """
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give the path of a .safetensors or .pt file.")
    try:
        content = _read(path)
    except Exception as error:  # unpickling an arbitrary file may raise any error
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely ({_reason(error)}). If it holds a whole network, "
            f"{SAVE} Otherwise give a safetensors file that can be read, or a dictionary saved by torch."
        ) from error
    sets = dict(_sets(content))
    if not sets:
        raise ModelError(_nothing(path, content))
    return sets


def _read(path: Path) -> Any:
    if _is_safetensors(path):
        return load_file(path)
    classes: list[Any] = [(NumberType, "numpy.dtype")]
    classes += [(type(name, (StandIn,), {}), name) for name in _other_classes(path) if name != "numpy.dtype"]
    with warnings.catch_warnings(), torch.serialization.safe_globals(classes):
        # Torch's warning about the pickle protocol does not help a user who gave the wrong file.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of length, then JSON; or has their suffix."""
    with path.open("rb") as stream:
        return stream.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def _other_classes(path: Path) -> list[str]:
    """The classes and functions that a file names and torch may not load, such as those of a trainer's settings."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # the format before torch 1.6, or another file, about which torch.load says more
        return _named_in_pickles(path)


def _named_in_pickles(path: Path) -> list[str]:
    """The classes and functions that the four pickles at the beginning of the old format name."""
    names: set[str] = set()
    with path.open("rb") as stream:
        for _ in range(4):
            operations = pickletools.genops(stream)
            names.update(str(name).replace(" ", ".") for code, name, _ in operations if code.name == "GLOBAL")
    return sorted(names)


def _sets(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Weights]]:
    """The dictionaries of tensors in ``content``, by the names of the entries above them."""
    if not isinstance(content, Mapping):
        return
    weights = {name: value for name, value in content.items() if not str(name).endswith("_extra_state")}
    if weights and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()):
        yield ".".join(path), weights
    elif len(path) < DEPTH:
        for name, value in content.items():
            yield from _sets(value, (*path, str(name)))


def _nothing(path: Path, content: Any) -> str:
    """The message for a file without a dictionary of tensors."""
    entries = [content]
    if isinstance(content, Mapping):
        entries += content.values()
    objects = [vars(entry)[MARK] for entry in entries if MARK in getattr(entry, "__dict__", ())]
    if objects:
        return (
            f"{path} is not a checkpoint that can be loaded safely: it holds a whole object ({objects[0]}), which runs "
            f"code when it is loaded; {SAVE}"
        )
    return f"{path} holds no state dictionary of tensors; {SAVE}"


def _reason(error: Exception) -> str:
    """The first line of an error, or what torch says about the object that it does not load."""
    text = str(error).strip()
    lines = re.findall("WeightsUnpickler error: (.+)", text) or text.splitlines() or [type(error).__name__]
    return str(lines[0])[:160].rstrip(". ")
