"""Shared passes: computations that run once per batch, however many explainers and metrics use them.

Each pass takes ``rows`` samples of the batch at a time and keeps no autograd graph, so its memory is that of one
forward and backward pass over ``rows`` samples.
"""

from .gradient import Gradients, LayerGradient, derivatives, gradients, leaf, release_layers
from .scores import logits

__all__ = ["Gradients", "LayerGradient", "derivatives", "gradients", "leaf", "logits", "release_layers"]
