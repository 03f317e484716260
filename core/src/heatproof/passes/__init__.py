"""The standard shared computations: each runs once per batch, whoever asks first.

Every pass goes over the batch in pieces of ``rows`` samples and keeps no graph, so that its memory is that of one
forward and backward over one piece.
"""

from .gradient import Gradients, LayerGradient, derivatives, gradients, leaf, release_layers
from .scores import logits

__all__ = ["Gradients", "LayerGradient", "derivatives", "gradients", "leaf", "logits", "release_layers"]
