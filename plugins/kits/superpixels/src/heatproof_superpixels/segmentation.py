"""Superpixels by SLIC, of colour images and of images without colour."""

import numpy as np
from skimage.color import rgb2lab
from skimage.segmentation import slic

from heatproof.records import Array

LAB = 100.0
"""The range of the lightness of Lab, to which images without colour are scaled."""


def colours(image: Array) -> Array:
    """Scale an image (c, *space) to colours (*space, c): three channels become Lab, others have its range."""
    scaled = np.moveaxis((image - image.min()) / (np.ptp(image) or 1.0), 0, -1)
    return np.asarray(rgb2lab(scaled) if len(image) == 3 else LAB * scaled)


def superpixels(image: Array, segments: int, compactness: float) -> Array:
    """Compute the superpixel (*space), 0, 1, …, of each pixel of an image (c, *space) by SLIC, about ``segments``.

    ``compactness`` weighs nearness against likeness in the same way for grey and for colour.

    Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 34 (2012).
    """
    values = colours(image)
    # SLIC of scikit-image divides the colours by their range.
    compactness = compactness / (np.ptp(values) or 1.0)
    return consecutive(slic(values, segments, compactness, convert2lab=False, start_label=0))


def consecutive(labels: Array) -> Array:
    """Number labels (*space) 0, 1, … without gaps, in their order.

    >>> consecutive(np.array([[2, 7], [9, 7]])).tolist()
    [[0, 1], [2, 1]]
    """
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
