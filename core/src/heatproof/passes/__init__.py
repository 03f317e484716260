"""Shared passes: each runs once per batch, over ``rows`` samples at a time, and keeps no autograd graph."""

from .gradient import Gradients, LayerGradient, derivatives, gradients, leaf, release_layers
from .scores import logits, unsummed

__all__ = ["Gradients", "LayerGradient", "derivatives", "gradients", "leaf", "logits", "release_layers", "unsummed"]
