"""The standard shared computations: each runs once per batch, whoever asks first.

Every pass goes over the batch in pieces of ``rows`` samples and keeps no graph, so that its memory is that of one
forward and backward over one piece.
"""

from ..network.rectification import ActPolicy, Rectifying, Rule
from .gradient import Gradients, Layer, derivatives, gradients, leaf, release_layers
from .noise import Base, Moments, noise_moments
from .rules import rectification, rectified, request, require_rectified
from .sampling import Tolerance, joined, norms, relative, sampling_notes, variant_gradients
from .scores import logits

__all__ = [
    "ActPolicy", "Base", "Gradients", "Layer", "Moments", "Rectifying", "Rule", "Tolerance", "derivatives", "gradients",
    "joined", "leaf", "logits", "noise_moments", "norms", "rectification", "rectified", "relative", "release_layers",
    "request", "require_rectified", "sampling_notes", "variant_gradients",
]  # fmt: skip
