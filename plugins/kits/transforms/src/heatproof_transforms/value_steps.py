"""The steps that change values, channels or the type of an image."""

from typing import Literal

import torch
from PIL import Image
from pydantic import PositiveFloat
from torch import Tensor

from heatproof_transforms.step import FULL, Api, Pixels, Step, functional


class Grey(Step):
    """Converts colours to their luminance in 1 or 3 channels."""

    kind: Literal["grey"] = "grey"
    channels: Literal[1, 3] = 1
    api: Api = "v1"

    def apply(self, image: Pixels) -> Pixels:
        """Convert as Pillow does (ITU-R BT.601), or torchvision for a tensor."""
        grey: Pixels
        if self.api == "v2" and isinstance(image, Tensor):
            grey = functional("v2").rgb_to_grayscale(image, self.channels)
        elif isinstance(image, Tensor):
            grey = functional("v1").rgb_to_grayscale(image, self.channels)
        else:
            grey = functional("v1").to_grayscale(image, self.channels)
        return grey


class Colour(Step):
    """Repeats a grey image in three channels."""

    kind: Literal["colour"] = "colour"

    def apply(self, image: Pixels) -> Pixels:
        """Repeat one channel; colours stay."""
        if isinstance(image, Image.Image):
            return image.convert("RGB")
        return image.expand(3, -1, -1)


class ToTensor(Step):
    """Converts Pillow's image to a tensor uint8."""

    kind: Literal["to_tensor"] = "to_tensor"

    def apply(self, image: Pixels) -> Pixels:
        """Convert; a tensor stays."""
        if isinstance(image, Tensor):
            return image
        tensor: Tensor = functional("v1").pil_to_tensor(image)
        return tensor


class ToPillow(Step):
    """Converts a tensor to Pillow's image of 8 bits."""

    kind: Literal["to_pillow"] = "to_pillow"

    def apply(self, image: Pixels) -> Pixels:
        """Convert; Pillow's image stays."""
        if isinstance(image, Image.Image):
            return image
        converted: Image.Image = functional("v1").to_pil_image(image)
        return converted

    def apply_wide(self, image: Tensor) -> Tensor:
        """Return the image itself."""
        return image


class Scale(Step):
    """Converts to floats in which white is 1."""

    kind: Literal["scale"] = "scale"
    api: Api = "v1"

    def apply(self, image: Pixels) -> Pixels:
        """Divide 8 bits by 255; floats stay."""
        if self.api == "v2":
            tensor: Tensor = functional("v2").to_dtype(image, torch.float32, scale=True)
        else:
            tensor = functional("v1").convert_image_dtype(image, torch.float32)
        return tensor

    def apply_wide(self, image: Tensor) -> Tensor:
        """Divide by 255."""
        return image / FULL


class Values(Step):
    """Converts to floats in which white is 255."""

    kind: Literal["values"] = "values"

    def apply(self, image: Pixels) -> Pixels:
        """Convert the type alone."""
        return torch.as_tensor(image).to(torch.float32)


class Normalize(Step):
    """Computes (image - mean) / std of each channel."""

    kind: Literal["normalize"] = "normalize"
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]

    def apply(self, image: Pixels) -> Pixels:
        """Normalise."""
        tensor: Tensor = functional("v1").normalize(image, self.mean, self.std)
        return tensor
