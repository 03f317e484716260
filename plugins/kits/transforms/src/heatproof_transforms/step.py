"""A step of a transform as data, and the images that it takes."""

from typing import Any, Literal, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from heatproof.component import Params

Pixels: TypeAlias = Image.Image | Tensor
"""An image during its preparation: Pillow's, or a tensor (c, h, w), uint8 or float32."""
Space: TypeAlias = tuple[int, int]
"""The height and width of an image."""
Api = Literal["v1", "v2"]
"""Which of torchvision's interfaces computes a step; they round some tensors differently."""
FULL = 255
"""The value of white in 8 bits."""


def functional(api: Api) -> Any:
    """Import torchvision's functions of an interface."""
    if api == "v1":
        from torchvision.transforms import functional as functions
    else:
        from torchvision.transforms.v2 import functional as functions
    return functions


def space_of(image: Pixels) -> Space:
    """Return the height and width of an image."""
    if isinstance(image, Tensor):
        return int(image.shape[-2]), int(image.shape[-1])
    return image.height, image.width


class Step(Params):
    """A step: ``apply`` changes the pixels, ``start`` and ``scale`` say where the new ones lie on the old ones."""

    def apply(self, image: Pixels) -> Pixels:
        """Compute the image after this step."""
        raise NotImplementedError

    def apply_wide(self, image: Tensor) -> Tensor:
        """Compute the same for floats from 0 to 255, which stand for an image of more than 8 bits."""
        return torch.as_tensor(self.apply(image))

    def start(self, before: Space) -> tuple[int, int]:
        """Return the row and column of an image of this size at which the new image begins."""
        return 0, 0

    def scale(self, before: Space, after: Space) -> tuple[float, float]:
        """Return the height and width of a new pixel in pixels of the image before."""
        return 1.0, 1.0

    def space(self, before: Space | None) -> Space | None:
        """Return the size after this step; None if it depends on the image."""
        return before
