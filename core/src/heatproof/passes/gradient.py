"""The gradient of the target's score by the images and by layers, from one forward and one backward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..batch import Batch
from ..errors import ModelError
from .activations import spatial


@dataclass(frozen=True)
class LayerGradient:
    """A layer's activations and their gradients, both (n, channel, *space)."""

    activation: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Gradients:
    """The gradient of the target's score by the images (n, c, *space), and of each layer in ``batch.layers``."""

    images: Tensor
    layers: Mapping[str, LayerGradient]


def gradients(batch: Batch) -> Gradients:
    """The gradients of a batch, computed once, by one forward and one backward pass."""
    return batch.once("gradients", lambda: _joined(batch.pieced(_gradients)))


def release_layers(batch: Batch) -> None:
    """Free the activations and gradients of the layers."""
    batch.release("gradients", lambda result: replace(result, layers={}))


def _gradients(batch: Batch) -> Gradients:
    images = leaf(batch)
    with torch.enable_grad():
        logits, activations = batch.forward(images, batch.layers)
        _require_dependent(batch, activations)
        image_gradient, *layer_gradients = derivatives(batch, batch.pick(logits), [images, *activations.values()])
    if not batch.differentiable:
        activations = {name: value.detach() for name, value in activations.items()}
    layers = {
        name: LayerGradient(spatial(batch, name, value), spatial(batch, name, gradient))
        for (name, value), gradient in zip(activations.items(), layer_gradients)
    }
    return Gradients(image_gradient, layers)


def _require_dependent(batch: Batch, activations: Mapping[str, Tensor]) -> None:
    """Raise ``ModelError`` for a layer that does not depend on the image."""
    for name, value in activations.items():
        if not value.requires_grad:
            raise ModelError(f"layer {name!r} of {batch.model.short} does not depend on the image; name another.")


def leaf(batch: Batch) -> Tensor:
    """The images as a leaf of the autograd graph; the images of a training loss stay in its graph."""
    if batch.differentiable and batch.images.requires_grad:
        return batch.images
    return batch.images.detach().requires_grad_()


def derivatives(batch: Batch, scores: Tensor, tensors: list[Tensor], again: bool = False) -> tuple[Tensor, ...]:
    """The gradients of scores (n,) by ``tensors``, zero if independent; ``again`` allows another backward pass."""
    create = batch.differentiable
    return torch.autograd.grad(
        scores.sum(), tensors, retain_graph=again or create, create_graph=create, materialize_grads=True
    )


def _joined(parts: list[Gradients]) -> Gradients:
    if len(parts) == 1:
        return parts[0]
    layers = {
        name: LayerGradient(
            torch.cat([part.layers[name].activation for part in parts]),
            torch.cat([part.layers[name].gradient for part in parts]),
        )
        for name in parts[0].layers
    }
    return Gradients(torch.cat([part.images for part in parts]), layers)
