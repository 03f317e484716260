"""Superpixels: connected regions of similar colour."""

import numpy as np
from skimage.color import rgb2lab
from skimage.segmentation import slic

from heatproof.records import Array

LAB = 100.0
"""The range of the lightness of Lab, to which images without colour are scaled."""


def superpixels(image: Array, segments: int, compactness: float) -> Array:
    """Compute the superpixel (*space) of each pixel of an image (c, *space) by SLIC, about ``segments`` in all.

    The image is scaled to 0…1. Three channels are then converted to Lab; other images are scaled to its range, so that
    ``compactness`` weighs nearness against likeness in the same way for grey and for colour.

    Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 34 (2012).
    """
    scaled = np.moveaxis((image - image.min()) / (np.ptp(image) or 1.0), 0, -1)
    colours = rgb2lab(scaled) if len(image) == 3 else LAB * scaled
    # SLIC of scikit-image divides the colours by their range.
    compactness = compactness / (np.ptp(colours) or 1.0)
    return np.asarray(slic(colours, segments, compactness, convert2lab=False, start_label=0))
