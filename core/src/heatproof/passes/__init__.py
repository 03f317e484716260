"""Shared passes: each runs once per batch, over ``rows`` samples at a time, and keeps no autograd graph."""

from .activations import activations, spatial
from .gradient import Gradients, LayerGradient, derivatives, gradients, leaf, release_layers
from .scores import logits, outputs, unsummed

__all__ = [
    "Gradients", "LayerGradient", "activations", "derivatives", "gradients", "leaf", "logits", "outputs",
    "release_layers", "spatial", "unsummed",
]  # fmt: skip
