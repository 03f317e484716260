"""DeepLIFT's multipliers: differences from a reference image, passed back through the network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.graph import callee
from heatproof.network.modules import BATCH_NORMS, CONVOLUTIONS, Add, Concatenate, Mean
from heatproof.passes import leaf
from heatproof.records import Verdict
from heatproof_shared_passes.sampling import joined

from .rescaling import NOT_LINEAR, Recording, Rescaling

LINEAR = (
    *CONVOLUTIONS, *BATCH_NORMS, nn.Linear, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.Dropout3d,
    nn.Identity, Add, Concatenate, Mean,
)  # fmt: skip
"""Modules that pass differences as they pass gradients."""
AFFINE = frozenset(
    {
        "add",
        "cat",
        "contiguous",
        "dropout",
        "flatten",
        "getattr",
        "getitem",
        "interpolate",
        "mul",
        "permute",
        "reshape",
        "size",
        "squeeze",
        "stack",
        "sub",
        "sum",
        "transpose",
        "truediv",
        "unsqueeze",
        "view",
    }
)
"""Functions and methods that do, with numbers or shapes for their other arguments."""


@dataclass(frozen=True)
class Multipliers:
    """DeepLIFT's multipliers (n, c, *space) and by how much each score exceeds the reference's (n,)."""

    values: Tensor
    gained: Tensor


def multipliers(batch: Batch, baseline: float = 0.0) -> Multipliers:
    """The rescale rule's multipliers against a constant image, by its forward and a forward and backward of the batch.

    ``baseline`` is the constant, in prepared units. Raises ``ModelError`` where the network cannot be traced.
    """

    def compute() -> Multipliers:
        # With further inputs every image has a reference of its own.
        shared = None if batch.inputs else _reference(batch.select([0]), baseline)
        return joined(batch.pieced(lambda piece: _multipliers(piece, *(shared or _reference(piece, baseline)))))

    return batch.once(("multipliers", baseline), compute)


@torch.no_grad()
def _reference(batch: Batch, baseline: float) -> tuple[Recording, Tensor]:
    """What a forward of the constant images passed, and their logits."""
    reference = Recording()
    return reference, batch.at(torch.full_like(batch.images, baseline)).forward(cell=reference)[0]


def _multipliers(batch: Batch, reference: Recording, before: Tensor) -> Multipliers:
    images = leaf(batch)
    with torch.enable_grad():
        scores = batch.pick(batch.forward(images, cell=Rescaling(reference))[0])
        # Quotients of differences are no constants: never with a graph, which a training loss would take for right.
        (found,) = torch.autograd.grad(scores.sum(), [images], materialize_grads=True)
    return Multipliers(found, scores.detach() - batch.pick(before.expand(len(batch), -1)))


def exactness(model: Model) -> Verdict:
    """Whether the rescale rule is defined on a model: exact where all but activations and max pools is linear."""
    outline = model.outline
    if outline.module is None:
        return Verdict("undefined", f"no rule reaches {model.short}: it cannot be traced ({outline.reason})")
    known = (*NOT_LINEAR, *LINEAR)
    kinds = {type(module) for module in outline.module.modules() if not list(module.children())}
    calls = {callee(node) for node in outline.module.graph.nodes} - {""}
    others = sorted({kind.__name__ for kind in kinds if not issubclass(kind, known)} | (calls - AFFINE))
    if others:
        return Verdict("approximate", f"{', '.join(others)} of {model.short} pass the derivative, not the difference")
    return Verdict("exact")
