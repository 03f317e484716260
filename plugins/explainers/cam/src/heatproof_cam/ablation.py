"""The scores of a network in which channels of a layer are set to zero, one at a time."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.network.graph import arguments, output_of
from heatproof.passes import spatial
from heatproof_shared_passes.trunk import halves


@torch.no_grad()
def ablated_scores(batch: Batch, layer: str) -> Tensor:
    """The target's scores (channel + 1,) of the image of a batch of one without each channel, and last with all.

    What comes before the layer runs once, or once for all pieces of one size if the rest of the network reads more than
    the layer. Raises ``ModelError`` if the network cannot be traced, or if the model's ``spatial`` mixes the layer's
    channels.
    """
    rest = _Rest(batch, layer)
    return torch.cat(batch.budget.pieced(rest.count + 1, rest.scores))


class _Rest:
    """The part of a network after a layer, for copies of the one image of a batch."""

    def __init__(self, batch: Batch, layer: str):
        view: Any = batch.view
        module = view.module
        if view.reason or not isinstance(module, fx.GraphModule):
            raise ModelError(f"no channel of {batch.model.short} can be set to zero: it runs as it is ({view.reason}).")
        name = view.layers[layer]
        middle = next(node for node in module.graph.nodes if node.name == name)
        output = output_of(module.graph, batch.output, view.names)
        self.batch = batch
        self.module = module
        self.before, self.after = halves(module, middle, output)
        self.copies = batch
        self.values = self._values()
        self.axis, self.positions = _channels(batch, layer, self.values[0])

    @property
    def count(self) -> int:
        """The number of channels."""
        return len(self.positions)

    def scores(self, piece: slice) -> Tensor:
        """The scores of the channels in a piece; the piece behind the last channel is the whole layer."""
        size = piece.stop - piece.start
        if size != len(self.copies):
            self.copies = self.batch.select([0] * size)
            if len(self.values) > 1:
                # Copies of the image, not of values: a size or an index among these need not be that of one image.
                self.values = self._values()
        layer, *others = self.values
        ablated = layer.expand(size, *layer.shape[1:]).clone()
        for row, channel in enumerate(range(piece.start, min(piece.stop, self.count))):
            ablated[row].select(self.axis, self.positions[channel]).zero_()
        logits = self._run(self.after, [ablated, *others])
        return self.copies.pick(self.copies.summed(logits))

    def _values(self) -> Any:
        """The values of the layer and of all else that the rest of the network reads, for the copies."""
        images = self.copies.images.contiguous()
        return self._run(self.before, arguments(self.before, images, self.copies.inputs))

    def _run(self, graph: fx.Graph, values: list[Any]) -> Any:
        interpreter = fx.Interpreter(self.module, graph=graph)
        interpreter.extra_traceback = False
        return interpreter.run(*values)


def _channels(batch: Batch, layer: str, values: Tensor) -> tuple[int, list[int]]:
    """The axis of channels in the values of one image (without that of images), and the position of each channel."""
    shape = tuple(values.shape[1:])
    index = torch.arange(values[0].numel(), dtype=torch.float64, device=values.device).reshape(values[:1].shape)
    first = spatial(batch, layer, index)[0].flatten(1)[:, 0].long()
    # By numpy: torch.unravel_index imports sympy, which changes the filters of warnings.
    coordinates = [positions.tolist() for positions in np.unravel_index(first.cpu().numpy(), shape)]
    axes = [axis for axis, positions in enumerate(coordinates) if len({*positions}) > 1]
    if len(axes) > 1:
        raise ModelError(
            f"spatial(layer, values) of {batch.model.short} makes channels of several axes of layer {layer!r}, so none "
            "can be set to zero; name another layer."
        )
    if not axes:
        axes = [axis for axis, size in enumerate(shape) if size == 1][:1]
    return axes[0], coordinates[axes[0]]
