"""The checkpoint of a training: weights that ``heatproof run`` takes as ``weights:``, and where they come from."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from heatproof.component import mapped
from heatproof.errors import HeatproofError

from .folder import replace_file

NAME = "checkpoint.safetensors"
PARITY = (
    "selected on the test part (select_on: test), as some published code does: the figures on the test part are "
    "too good, and show no performance on new patients"
)
"""The flag of a training whose epoch was selected on the test part."""


def write(
    path: Path, network: nn.Module, record: Mapping[str, Any], classes: Sequence[str], half: bool = False
) -> None:
    """Write weights and buffers in one step, with the record as JSON in the metadata; raises ``StoreError``.

    ``classes``, in the order of the outputs, are in the metadata too: a model with others refuses the checkpoint.

    Of a path in the record only the name remains: checkpoints are published. ``half`` rounds the weights to float16;
    raises ``HeatproofError`` for values beyond its range.
    """
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}
    if half:
        tensors = {name: _halved(name, value) for name, value in tensors.items()}
    versions = {"heatproof": version("heatproof"), "torch": torch.__version__}
    text = json.dumps({**mapped(record, _without_folder), "versions": versions}, ensure_ascii=False)
    metadata = {"format": "pt", "heatproof_training": text, "classes": json.dumps(list(classes))}
    replace_file(path, save(tensors, metadata))


def _without_folder(value: Any) -> Any:
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    halved = value.half()
    if not torch.isfinite(halved).all():
        raise HeatproofError(
            f"stored: float16 cannot hold {name!r} (largest value {float(value.abs().max()):.4g}); set stored: full."
        )
    return halved


def restore(path: Path, network: nn.Module) -> None:
    """Load the weights of a checkpoint that ``write`` wrote for the same network."""
    network.load_state_dict(load_file(path))
