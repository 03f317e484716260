"""Navier–Stokes inpainting by OpenCV."""

import cv2
import numpy as np
import torch
from torch import Tensor

from heatproof.records import Array

SPAN = 255.0
"""The range to which an image is scaled: OpenCV's solver compares gradients with a constant meant for 8 bits."""


def inpainted(image: Tensor, mask: Tensor, radius: float) -> Tensor:
    """Fill in the pixels in ``mask`` (h, w) bool from the pixels around them (Bertalmio et al. 2001).

    The image (c, h, w) may have any scale. Each channel is inpainted separately in float32, without rounding to 8 bits;
    all other pixels keep their bits. The solver reads pixels up to ``radius`` pixels away. At least one pixel must lie
    outside the mask.
    """
    values = image.detach().cpu().double().numpy()
    low = values.min()
    span = np.ptp(values) or 1.0
    hole = mask.cpu().numpy().astype(np.uint8)
    filled = np.stack([_solved((channel - low) / span, hole, radius) for channel in values]) * span + low
    return torch.where(mask, torch.from_numpy(filled).to(image), image)


def _solved(channel: Array, hole: Array, radius: float) -> Array:
    solved = cv2.inpaint((SPAN * channel).astype(np.float32), hole, radius, cv2.INPAINT_NS)
    return np.asarray(solved, dtype=np.float64) / SPAN
