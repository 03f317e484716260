"""The base class of networks that reconstruct the image, and their encoder and decoder."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from heatproof.component import Location, Params, Seed
from heatproof.imaging.transforms import Resize
from heatproof_checkpoints.initial import Weighted

Width = Annotated[int, Field(ge=1, le=4096)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Error = Literal["absolute", "squared"]
"""What is averaged over the image: |x - x̂|, or its square."""


class ReconstructingParams(Params):
    """The image, the layers, the reading of the anomaly score, and the source of the weights.

    The whole image is stretched to a square of ``size`` pixels with ``channels`` channels (``luminance`` for colours as
    grey) in 0…1. ``widths`` are the channels of the encoder's convolutions, each of which halves the grid; ``latent``
    is the number of values between encoder and decoder. The score is the mean ``error`` over all pixels and channels,
    and an image is decided to be of the second of the two ``classes`` where it exceeds ``threshold``. ``weights``: the
    path of a checkpoint; without it, all weights are random by ``seed``.
    """

    size: Annotated[int, Field(ge=2, le=2048)] = 64
    channels: Annotated[int, Field(ge=1, le=1000)] | Literal["luminance"] = 3
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (32, 64, 128)
    latent: Annotated[int, Field(ge=1, le=65_536)] = 128
    error: Error = "absolute"
    threshold: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    classes: tuple[Name, Name] = ("normal", "anomalous")
    weights: Location | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        factor = 2 ** len(self.widths)
        if self.size % factor:
            raise ValueError(
                f"size {self.size} is no multiple of {factor}; each of the {len(self.widths)} widths halves it"
            )
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes names {self.classes[0]!r} twice; name the normal and the anomalous images")
        return self

    @property
    def width(self) -> int:
        """The channels of prepared images."""
        return 1 if self.channels == "luminance" else self.channels


class Reconstructing(Weighted[ReconstructingParams]):
    """A network whose output ``reconstruction`` (n, c, size, size) is the image as it knows images to be.

    Its logit (n, 1) is the anomaly score: the mean error of the reconstruction less the threshold. A subclass
    implements ``random_network``.
    """

    head = "sigmoid"

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = self.params.classes
        self.preparation = Resize(size=self.params.size, channels=self.params.channels)

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Gradients and layers, and the output ``reconstruction``."""
        return super().capabilities | {"reconstruction"}


class AnomalyScore(nn.Module):
    """The mean error of a reconstruction over all pixels and channels, less a threshold."""

    def __init__(self, error: Error, threshold: float):
        super().__init__()
        self.errors = Errors(error)
        self.threshold = threshold

    def forward(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Images and their reconstruction (n, c, h, w) → logits (n, 1)."""
        errors: Tensor = self.errors(images, reconstruction)
        return errors.flatten(1).mean(1, keepdim=True) - self.threshold


class Errors(nn.Module):
    """The absolute or squared error of a reconstruction at each value."""

    def __init__(self, error: Error):
        super().__init__()
        self.error = error

    def forward(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """Images and their reconstruction (n, c, h, w) → errors (n, c, h, w)."""
        differences = images - reconstruction
        if self.error == "squared":
            return differences.square()
        return differences.abs()


def encoder(params: ReconstructingParams) -> tuple[nn.Sequential, int]:
    """Build convolutions that halve the grid, and return them with the number of their flat features."""
    parts: list[nn.Module] = []
    inputs = params.width
    for width in params.widths:
        parts += _block(inputs, width, stride=2)
        inputs = width
    return nn.Sequential(*parts, nn.Flatten()), math.prod(_deepest(params))


def decoder(params: ReconstructingParams) -> nn.Sequential:
    """Build the way back: from latent values (n, latent) to an image (n, c, size, size) in 0…1."""
    deepest = _deepest(params)
    parts: list[nn.Module] = [nn.Linear(params.latent, math.prod(deepest)), nn.ReLU(), nn.Unflatten(1, deepest)]
    widths: Sequence[int] = (*params.widths[-2::-1], params.widths[0])
    inputs = params.widths[-1]
    for width in widths:
        parts += [nn.Upsample(scale_factor=2), *_block(inputs, width)]
        inputs = width
    return nn.Sequential(*parts, nn.Conv2d(inputs, params.width, 3, padding=1), nn.Sigmoid())


def _block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A convolution with BatchNorm, without which training on dark images may end at a black one, and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _deepest(params: ReconstructingParams) -> tuple[int, int, int]:
    """The shape of the encoder's last map."""
    cells = params.size // 2 ** len(params.widths)
    return params.widths[-1], cells, cells
