"""Computes DeepLIFT's multipliers, which pass differences from a reference image back through a network."""

from dataclasses import dataclass

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.network.graph import of_kind
from heatproof.passes import leaf
from heatproof.records import Verdict
from heatproof_shared_passes.linearity import name_of, not_linear
from heatproof_shared_passes.sampling import joined

from .references import Reference
from .rescaling import NOT_LINEAR, Recording, Rescaling


@dataclass(frozen=True)
class Multipliers:
    """DeepLIFT's multipliers (n, c, *space), and the score of each image minus that of the reference (n,)."""

    values: Tensor
    gain: Tensor


def multipliers(batch: Batch, reference: Reference) -> Multipliers:
    """The multipliers of the rescale rule.

    Costs one forward pass of the reference, of a single image if all samples share it, and one forward and backward
    pass of the batch. Raises ``ModelError`` if the network cannot be traced.
    """

    def compute() -> Multipliers:
        # The output of a reference depends on the further inputs and the region of each image.
        if reference.is_shared and batch.alike:
            recording, logits = _reference(batch.select([0]), reference.images)
            if recording.has_one_row:
                return joined(batch.pieced(lambda piece: _multipliers(piece, recording, logits)))

        def act(rows: slice) -> Multipliers:
            piece = batch.select(range(len(batch))[rows])
            return _multipliers(piece, *_reference(piece, reference.at(rows)))

        return joined(batch.budget.pieced(len(batch), act))

    return batch.once(("multipliers", reference.key), compute)


@torch.no_grad()
def _reference(batch: Batch, images: Tensor) -> tuple[Recording, Tensor]:
    """The inputs and outputs of activations and pools in a forward pass of the reference, and its logits."""
    recording = Recording()
    logits, _ = batch.at(images.expand_as(batch.images)).forward(cell=recording)
    return recording, logits


def _multipliers(batch: Batch, recording: Recording, reference_logits: Tensor) -> Multipliers:
    images = leaf(batch)
    with torch.enable_grad():
        scores = batch.pick(batch.forward(images, cell=Rescaling(recording))[0])
        # No create_graph: the rule treats quotients as constants, so a training loss would get wrong derivatives.
        (values,) = torch.autograd.grad(scores.sum(), [images], materialize_grads=True)
    return Multipliers(values, scores.detach() - batch.pick(reference_logits.expand(len(batch), -1)))


def exactness(model: Model) -> Verdict:
    """The verdict on a model: exact if everything except activations and max pools is linear, else approximate.

    Undefined if the network cannot be traced.
    """
    network = model.outline.module
    if network is None:
        return Verdict("undefined", f"no rule reaches {model.short}: it cannot be traced ({model.outline.reason})")
    others = {name_of(network, node) for node in not_linear(model) if not of_kind(network, node, NOT_LINEAR)}
    if others:
        names = ", ".join(sorted(others))
        return Verdict("approximate", f"the derivative, not the difference, passes through {names} of {model.short}")
    return Verdict("exact")
