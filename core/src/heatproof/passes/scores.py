"""The outputs of a batch, the explained one among them, from one forward pass."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..batch import Batch


def logits(batch: Batch) -> Tensor:
    """The explained output (n, class), computed once, by one forward pass without gradients."""
    return batch.summed(unsummed(batch))


@torch.no_grad()
def unsummed(batch: Batch) -> Tensor:
    """The explained output before it is summed over regions: (n, class), or (n, class, *grid) of logits per pixel."""
    return outputs(batch)[batch.output]


def outputs(batch: Batch) -> Mapping[str, Tensor]:
    """The outputs that the model declares, by name, from the forward pass of ``logits``; all have a row per image.

    There is a graph only in a training loss. An output without a row per image is left out, unless it is explained.
    Raises ``ModelError`` where the explained one is missing.
    """

    def compute() -> Mapping[str, Tensor]:
        with torch.set_grad_enabled(batch.differentiable and torch.is_grad_enabled()):
            return _joined(batch.pieced(_outputs))

    return batch.once("outputs", compute)


def _outputs(batch: Batch) -> dict[str, Tensor]:
    values, _ = batch.evaluate()
    declared = {name: values[name] for name in batch.model.outputs if _has_rows(values.get(name), len(batch))}
    return {**declared, batch.output: batch.explained(values)}


def _has_rows(value: object, count: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: torch.cat([part[name] for part in parts]) for name in names}
