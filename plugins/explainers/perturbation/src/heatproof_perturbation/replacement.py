"""What hidden pixels show: a constant, the mean of the image, or the image after a blur."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from skimage.filters import gaussian
from torch import Tensor

from heatproof.batch import Batch, require_finite

Value = Annotated[float, Field(ge=-1e6, le=1e6)] | Literal["mean", "blur"]
"""A constant in prepared units, the mean of each channel over the image, or the image after a Gaussian filter."""


def replacement(batch: Batch, value: Value, sigma: float, subject: str) -> Tensor:
    """The pixels (n, c, *space) that replace those of the images; ``sigma`` is that of the filter in pixels.

    Raises ``DataError`` where they exceed the largest number; ``subject`` names them there.
    """
    pixels = _pixels(batch.images, value, sigma).expand_as(batch.images)
    return require_finite(pixels, batch.ids, subject, "scale the image to a smaller range")


def _pixels(images: Tensor, value: Value, sigma: float) -> Tensor:
    if value == "mean":
        return images.mean(tuple(range(2, images.ndim)), keepdim=True)
    if value == "blur":
        return torch.stack([_blurred(image, sigma) for image in images])
    return images.new_tensor(value)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    blurred = gaussian(image.cpu().numpy(), sigma, mode="nearest", channel_axis=0)  # type: ignore[no-untyped-call]
    return torch.from_numpy(blurred).to(image)
