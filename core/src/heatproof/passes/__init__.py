"""The standard shared computations: each runs once per batch, whoever asks first.

Every pass goes over the batch in pieces of ``rows`` samples and keeps no graph, so that its memory is that of one
forward and backward over one piece.
"""

from ..network.rectification import ActPolicy, Rule
from .gradient import Gradients, Layer, gradients, release_layers
from .noise import Base, Moments, noise_moments
from .path import PathMeans, PathRule, path_gradients
from .rescale import Multipliers, multipliers, rescaling
from .responses import responses
from .rules import rectification, rectified
from .sampling import Tolerance, sampling_notes
from .scores import constant_scores, logits

__all__ = [
    "ActPolicy", "Base", "Gradients", "Layer", "Moments", "Multipliers", "PathMeans", "PathRule", "Rule", "Tolerance",
    "constant_scores", "gradients", "logits", "multipliers", "noise_moments", "path_gradients",
    "rectification", "rectified", "release_layers", "rescaling", "responses", "sampling_notes",
]  # fmt: skip
