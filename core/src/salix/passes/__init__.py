"""The standard shared computations: each runs once per batch, whoever asks first.

Every pass goes over the batch in pieces of ``rows`` samples and keeps no graph, so that its memory is that of one
forward and backward over one piece.
"""

from ..rectification import ActPolicy, Rule
from .gradient import Gradients, Layer, gradients
from .noise import Base, Moments, noise_moments
from .path import PathRule, path_gradients
from .responses import responses
from .rules import rectification, rectified
from .scores import constant_scores, logits

__all__ = [
    "ActPolicy", "Base", "Gradients", "Layer", "Moments", "PathRule", "Rule", "constant_scores", "gradients", "logits",
    "noise_moments", "path_gradients", "rectification", "rectified", "responses",
]  # fmt: skip
