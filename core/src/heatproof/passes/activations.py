"""The activations of layers, from one forward pass without gradients."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..batch import Batch
from ..errors import ModelError
from ..network.grids import on_grid


def activations(batch: Batch) -> Mapping[str, Tensor]:
    """The activations (n, channel, *space) of each layer in ``batch.layers``, computed once, by one forward pass.

    A run frees them after the last explainer whose ``shares`` is ``activations``.
    """
    return batch.once(("shared", "activations"), lambda: _joined(batch.pieced(_activations)))


@torch.no_grad()
def _activations(batch: Batch) -> dict[str, Tensor]:
    _, values = batch.forward(capture=batch.layers)
    return {name: spatial(batch, name, value) for name, value in values.items()}


def spatial(batch: Batch, layer: str, values: Tensor) -> Tensor:
    """A layer's values as (n, channel, *space), by ``Model.spatial``; raises ``ModelError`` for any other shape."""
    result = batch.model.spatial(layer, values)
    grid: Tensor | None = result
    if result is values:  # the model leaves it to us
        grid = on_grid(values, batch.space, batch.model.outline.cells(batch.space))
    if grid is None or len(grid) != len(batch) or grid.ndim != batch.images.ndim:
        raise ModelError(
            f"layer {layer!r} of {batch.model.short} has shape {tuple(result.shape)}, which is no grid over "
            f"{len(batch)} images of {' × '.join(map(str, batch.space))}; let the model's spatial(layer, values) make "
            "a grid (n, channel, *space) of it, or name another layer."
        )
    return grid


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
