"""The scores of images of which a window is replaced."""

from collections.abc import Hashable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, fx

from heatproof.batch import Batch, Budget
from heatproof.network.graph import output_of

from .boxes import Windows
from .incremental import Changes, WindowEffects, WindowRow


def window_scores(batch: Batch, windows: Windows, replacement: Tensor, named: Hashable) -> Tensor:
    """The targets' scores (n, window) of the images where each window in turn shows the replacement's pixels.

    ``replacement`` broadcasts to the images (n, c, *space); ``named`` says what it depends on besides the batch. A
    window's forward computes anew only what the window changes, and its scores are those of a full forward; full ones
    are run where the network cannot be traced. Windows are computed together as long as their activations take no more
    memory than those of ``rows`` images; where memory runs out their number is halved.
    """

    @torch.no_grad()
    def compute() -> Tensor:
        pairs = zip(batch.singles(), replacement.expand_as(batch.images))
        view = batch.view
        module = view.module
        if view.reason:
            return torch.stack([_full(single, windows, shown) for single, shown in pairs])
        assert isinstance(module, fx.GraphModule)
        plan = WindowEffects(module, output_of(module.graph, batch.output, view.names), windows)
        return torch.stack([_incremental(single, plan, shown[None]) for single, shown in pairs])

    return batch.once(("window scores", windows, named), compute)


def _incremental(batch: Batch, plan: WindowEffects, replacement: Tensor) -> Tensor:
    """The scores (window,) of a batch of one."""
    changes = Changes(plan, batch.images, replacement, batch.inputs)
    classes = torch.arange(changes.output.shape[1], device=batch.images.device)
    target = int(batch.pick(classes[None]))
    limits = Budget(plan.windows.shape[-1]), Budget(plan.windows.shape[-1])
    outputs = [_outputs(changes, row, batch.rows, *limits) for row in plan.rows]
    batch.budget.halved |= any(limit.halved for limit in limits)
    return torch.cat(outputs)[:, target]


def _outputs(changes: Changes, row: WindowRow, rows: int, small: Budget, large: Budget) -> Tensor:
    """The outputs (window, class) of a row: boxes of a piece of it at once, whole maps of parts of the piece."""
    sizes = changes.boxes_at_once(row, rows), changes.outputs_at_once(row, rows)

    def of_piece(piece: slice) -> Tensor:
        boxes = changes.boxes(row, piece)
        act = partial(changes.outputs, row, piece, boxes)
        return torch.cat(large.pieced(piece.stop - piece.start, act, sizes[1]))

    return torch.cat(small.pieced(changes.plan.windows.shape[-1], of_piece, sizes[0]))


def _full(batch: Batch, windows: Windows, replacement: Tensor) -> Tensor:
    """The scores (window,) of a batch of one, by a full forward of each window."""
    scores = []
    places = list(product(*(range(count) for count in windows.shape)))
    for start in range(0, len(places), batch.rows):
        images = [_shown(batch.images[0], windows, place, replacement) for place in places[start : start + batch.rows]]
        scores.append(batch.score(torch.stack(images), [0] * len(images)))
    return torch.cat(scores)


def _shown(image: Tensor, windows: Windows, place: tuple[int, ...], replacement: Tensor) -> Tensor:
    """A copy of the image (c, *space) that shows the replacement in one window."""
    inside: Any = (..., *(slice(span.low[index], span.high[index]) for span, index in zip(windows.spans, place)))
    shown = image.clone()
    shown[inside] = replacement[inside]
    return shown
