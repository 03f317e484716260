"""Gradients along the straight path from a constant image to each image."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..batch import Batch
from .gradient import gradients

PathRule = Literal["midpoint", "left", "right"]
POSITIONS: Mapping[PathRule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
"""Where in each step of a path its gradient is taken."""


def path_gradients(batch: Batch, steps: int, rule: PathRule = "midpoint", baseline: float = 0.0) -> Tensor:
    """The mean gradient (n, c, *space) at ``steps`` points of the straight path from a constant image to each image.

    ``rule`` says where in its step each point lies; ``baseline`` is the constant, in prepared units.
    """

    def compute() -> Tensor:
        total = torch.zeros_like(start)
        for step in range(steps):
            position = (step + POSITIONS[rule]) / steps
            total = total + gradients(batch.at(torch.lerp(start, batch.images, position), layers=())).images
        return total / steps

    start = torch.full_like(batch.images, baseline)
    return batch.once(("path gradients", steps, rule, baseline), compute)
