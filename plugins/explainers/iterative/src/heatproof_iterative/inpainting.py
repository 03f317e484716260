"""Navier–Stokes inpainting by OpenCV."""

import cv2
import numpy as np
import torch
from torch import Tensor

from heatproof.records import Array

SPAN = 255.0
"""What an image is stretched to: OpenCV's solver compares gradients with a constant that is meant for 8 bits."""


def inpainted(image: Tensor, mask: Tensor, radius: float) -> Tensor:
    """An image (c, h, w) of any scale with the pixels in ``mask`` (h, w) bool filled in from around (Bertalmio 2001).

    Each channel is solved for by itself in float32, not rounded to 8 bits; all other pixels keep their bits. ``radius``
    in pixels says how far the solver looks. Where the mask leaves no pixel there is nothing to fill in from: the caller
    must not ask for that.
    """
    values = image.detach().cpu().double().numpy()
    low, span = values.min(), np.ptp(values) or 1.0
    hole = mask.cpu().numpy().astype(np.uint8)
    filled = np.stack([_solved((channel - low) / span, hole, radius) for channel in values]) * span + low
    return torch.where(mask, torch.from_numpy(filled).to(image), image)


def _solved(channel: Array, hole: Array, radius: float) -> Array:
    solved = cv2.inpaint((SPAN * channel).astype(np.float32), hole, radius, cv2.INPAINT_NS)
    return np.asarray(solved, dtype=np.float64) / SPAN
