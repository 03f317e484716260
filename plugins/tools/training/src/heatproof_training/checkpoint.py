"""The checkpoint of a training: weights that ``heatproof run`` takes as ``weights:``, and where they come from."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from .folder import replace_file

NAME = "checkpoint.safetensors"
PARITY = (
    "selected on the test part (select_on: test), as some published code does: the figures on the test part are "
    "too good, and show no performance on new patients"
)
"""The flag of a training whose epoch was selected on the test part."""


def write(path: Path, network: nn.Module, record: Mapping[str, Any]) -> None:
    """Write weights and buffers in one step, with the record as JSON in the metadata; raises ``StoreError``."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}
    versions = {"heatproof": version("heatproof"), "torch": torch.__version__}
    text = json.dumps({**record, "versions": versions}, ensure_ascii=False)
    replace_file(path, save(tensors, {"format": "pt", "heatproof_training": text}))


def restore(path: Path, network: nn.Module) -> None:
    """Load the weights of a checkpoint that ``write`` wrote for the same network."""
    network.load_state_dict(load_file(path))
