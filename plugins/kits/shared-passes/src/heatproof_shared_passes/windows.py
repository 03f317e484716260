"""The scores of images with a window replaced."""

from collections.abc import Hashable
from itertools import product
from typing import Any

import torch
from torch import Tensor, fx

from heatproof.batch import Batch, Budget
from heatproof.network.graph import output_of

from .boxes import Windows
from .incremental import Changes, WindowEffects, WindowRow


def window_scores(batch: Batch, windows: Windows, replacement: Tensor, key: Hashable) -> Tensor:
    """The targets' scores (n, window) of the images in which one window at a time shows the replacement's pixels.

    ``replacement`` broadcasts to the images (n, c, *space); ``key`` names what it depends on besides the batch. The
    forward of a window computes only what the window changes, with the scores of a full forward; a network that cannot
    be traced runs in full. As many windows are computed together as their activations fit the memory of those of
    ``rows`` images; if memory runs out, their number is halved.
    """

    @torch.no_grad()
    def compute() -> Tensor:
        pairs = zip(batch.singles(), replacement.expand_as(batch.images))
        view = batch.view
        module = view.module
        if view.reason:
            return torch.stack([_full(single, windows, pixels) for single, pixels in pairs])
        assert isinstance(module, fx.GraphModule)
        plan = WindowEffects(module, output_of(module.graph, batch.output, view.names), windows)
        return torch.stack([_incremental(single, plan, pixels[None]) for single, pixels in pairs])

    return batch.once(("window scores", windows, key), compute)


def _incremental(batch: Batch, plan: WindowEffects, replacement: Tensor) -> Tensor:
    """The scores (window,) of a batch of one."""
    changes = Changes(plan, batch.images, replacement, batch.inputs)
    boxes_budget = Budget(plan.windows.shape[-1])
    maps_budget = Budget(plan.windows.shape[-1])
    outputs = [_scores(batch, changes, row, boxes_budget, maps_budget) for row in plan.rows]
    batch.budget.halved |= boxes_budget.halved or maps_budget.halved
    return batch.pick(torch.cat(outputs).T[None])[0]


def _scores(batch: Batch, changes: Changes, row: WindowRow, boxes_budget: Budget, maps_budget: Budget) -> Tensor:
    """The scores (window, class) of a row: cut into pieces for boxes, and each piece into parts for whole maps."""
    piece_size = changes.boxes_at_once(row, batch.rows)
    part_size = changes.outputs_at_once(row, batch.rows)

    def of_piece(piece: slice) -> Tensor:
        boxes = changes.boxes(row, piece)

        def act(part: slice) -> Tensor:
            return batch.summed(changes.outputs(row, piece, boxes, part))

        return torch.cat(maps_budget.pieced(piece.stop - piece.start, act, part_size))

    return torch.cat(boxes_budget.pieced(changes.plan.windows.shape[-1], of_piece, piece_size))


def _full(batch: Batch, windows: Windows, replacement: Tensor) -> Tensor:
    """The scores (window,) of a batch of one, by a full forward of each window."""
    scores = []
    indices = list(product(*(range(count) for count in windows.shape)))
    for start in range(0, len(indices), batch.rows):
        piece = indices[start : start + batch.rows]
        images = [_perturbed(batch.images[0], windows, index, replacement) for index in piece]
        scores.append(batch.score(torch.stack(images), [0] * len(images)))
    return torch.cat(scores)


def _perturbed(image: Tensor, windows: Windows, index: tuple[int, ...], replacement: Tensor) -> Tensor:
    """A copy of the image (c, *space) with the replacement in one window, given by its index in the grid."""
    inside: Any = (..., *(slice(span.low[i], span.high[i]) for span, i in zip(windows.spans, index)))
    perturbed = image.clone()
    perturbed[inside] = replacement[inside]
    return perturbed
