"""The gradient of the score by the images and by every layer, from one forward and one backward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..batch import Batch
from ..errors import ModelError


@dataclass(frozen=True)
class LayerGradient:
    """A layer's activations and their gradients, both (n, channel, *space)."""

    activation: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Gradients:
    """The gradient of the target's score by the images (n, c, *space) and by every layer of the batch."""

    images: Tensor
    layers: Mapping[str, LayerGradient]


def gradients(batch: Batch) -> Gradients:
    """One forward and one backward pass give the gradient of the images and of every layer in ``batch.layers``."""

    def compute() -> Gradients:
        parts = batch.pieced(_gradients)
        return parts[0] if len(parts) == 1 else _joined(parts)

    return batch.once("gradients", compute)


def release_layers(batch: Batch) -> None:
    """Free the activations and gradients of the layers, once nobody will ask for them any more."""
    batch.release("gradients", lambda found: replace(found, layers={}))


def _gradients(batch: Batch) -> Gradients:
    images = leaf(batch)
    with torch.enable_grad():
        logits, activations = batch.forward(images, batch.layers)
        _require_dependent(batch, activations)
        found = derivatives(batch, batch.pick(logits), [images, *activations.values()])
    if not batch.differentiable:
        activations = {name: value.detach() for name, value in activations.items()}
    layers = {
        name: LayerGradient(_spatial(batch, name, value), _spatial(batch, name, gradient))
        for (name, value), gradient in zip(activations.items(), found[1:])
    }
    return Gradients(found[0], layers)


def _require_dependent(batch: Batch, activations: Mapping[str, Tensor]) -> None:
    """Raise ``ModelError`` for a layer that the image does not reach."""
    for name, value in activations.items():
        if not value.requires_grad:
            raise ModelError(f"layer {name!r} of {batch.model.short} does not depend on the image; name another.")


def _spatial(batch: Batch, layer: str, values: Tensor) -> Tensor:
    """A layer's values as (n, channel, *space), as the model says; raises ``ModelError`` where they are not."""
    values = batch.model.spatial(layer, values)
    if len(values) != len(batch) or values.ndim != batch.images.ndim:
        raise ModelError(
            f"layer {layer!r} of {batch.model.short} has shape {tuple(values.shape)}, not (n, channel, *space) with "
            f"n = {len(batch)} and {len(batch.space)} dimensions of space; let the model's spatial(layer, values) make "
            "a grid of it, or name another layer."
        )
    return values


def leaf(batch: Batch) -> Tensor:
    """The images as what a gradient can be taken by; those of a training loss stay in its graph."""
    if batch.differentiable and batch.images.requires_grad:
        return batch.images
    return batch.images.detach().requires_grad_()


def derivatives(batch: Batch, scores: Tensor, asked: list[Tensor], again: bool = False) -> tuple[Tensor, ...]:
    """The gradients of scores (n,) by what is asked; zero where nothing depends on it.

    ``again`` keeps the graph for a further backward pass.
    """
    keep = again or batch.differentiable
    return torch.autograd.grad(
        scores.sum(), asked, create_graph=batch.differentiable, retain_graph=keep, materialize_grads=True
    )


def _joined(parts: list[Gradients]) -> Gradients:
    layers = {
        name: LayerGradient(
            torch.cat([part.layers[name].activation for part in parts]),
            torch.cat([part.layers[name].gradient for part in parts]),
        )
        for name in parts[0].layers
    }
    return Gradients(torch.cat([part.images for part in parts]), layers)
