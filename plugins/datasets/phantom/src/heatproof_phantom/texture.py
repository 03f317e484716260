"""Textures of the synthetic scene: smooth noise that is the same scene at every resolution."""

import numpy as np
from PIL import Image
from scipy import ndimage

from .frame import ASPECT, FIELD_RADIUS, Frame

# Everything smooth is drawn at this height and then resampled, which makes the scene the same at every resolution.
COARSE = 356


def stretch(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample a plane smoothly to (height, width)."""
    if plane.shape == (height, width):
        return plane
    return np.asarray(Image.fromarray(plane.astype(np.float32), "F").resize((width, height), Image.Resampling.BICUBIC))


def grain(rng: np.random.Generator, frame: Frame, scale: float, across: float | None = None) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1; its features are ``scale`` high (and ``across`` wide) in field radii."""
    rows = int(np.ceil(1 / FIELD_RADIUS / scale)) + 2
    columns = int(np.ceil(ASPECT / FIELD_RADIUS / (across or scale))) + 2
    noise = ndimage.gaussian_filter(rng.standard_normal((rows, columns), dtype=np.float32), 1.0)
    return stretch((noise - noise.mean()) / noise.std(), frame.height, frame.width)


def step(distance: np.ndarray, edge: float) -> np.ndarray:
    """Smooth step from 0 to 1 as ``distance`` rises from -edge to edge."""
    share = np.clip(distance / (2 * edge) + 0.5, 0, 1)
    return share * share * (3 - 2 * share)


def bell(squared: np.ndarray, width: float) -> np.ndarray:
    """Gaussian of squared distances, 1 at distance 0."""
    return np.exp(squared * (-0.5 / width**2))
