"""The images without evidence with which integrated gradients, DeepLIFT and GradientSHAP compare an image."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from heatproof.batch import Batch, require_finite
from heatproof.component import Location, Params
from heatproof.digests import digest, file_digest
from heatproof.errors import DataError, ModelError
from heatproof.imaging.images import read_image
from heatproof.records import Sample
from heatproof.seeding import generator

Level = Annotated[float, Field(ge=-1e6, le=1e6)]
Baseline: TypeAlias = Annotated[
    Level | Annotated[tuple[Level, ...], Field(min_length=1, max_length=1000)] | Literal["mean", "uniform"] | Location,
    Field(union_mode="left_to_right"),
]


class BaselineParams(Params):
    """Where references come from.

    ``baseline`` is a constant in prepared units, or a list with a constant per channel; ``mean``, the mean of each
    channel of the image; ``uniform``, noise between the smallest and largest value of each channel; or the path of an
    image file, which the model prepares, or of a folder of them.
    """

    baseline: Baseline = 0.0

    @field_validator("baseline")
    @classmethod
    def _existing(cls, baseline: Any) -> Any:
        if isinstance(baseline, Path) and not baseline.exists():
            raise ValueError(
                f"{baseline} is no file or folder; a baseline is a number, one per channel, mean, uniform, or a path"
            )
        return baseline

    @property
    def files(self) -> list[Path]:
        """The image files of a path; raises ``DataError`` if there are none."""
        if not isinstance(self.baseline, Path):
            return []
        files = [self.baseline]
        if self.baseline.is_dir():
            files = sorted(path for path in self.baseline.iterdir() if path.is_file() and path.name[0] != ".")
        if not files:
            raise DataError(f"{self.baseline} has no image for a reference; put one into it, or give another path.")
        return files

    @property
    def traits(self) -> frozenset[str]:
        """Signed, or seeded if references are random: a bright pixel may then be darker than they are."""
        return frozenset({"seeded"}) if self.baseline == "uniform" else frozenset({"signed"})

    def content(self) -> str:
        """The digest of the files of a folder; empty without one, since an identity has the digest of a file."""
        if not isinstance(self.baseline, Path) or not self.baseline.is_dir():
            return ""
        return digest([file_digest(path) for path in self.files])


class ReferenceParams(BaselineParams):
    """The reference image, or several of them: ``draws`` of ``uniform``, or the images of a folder.

    Of ``several`` references the map is the mean of their ``maps``, or that of their mean ``image``. ``baseline`` is
    that of ``BaselineParams``.
    """

    draws: int = Field(default=10, ge=1, le=10_000)
    several: Literal["maps", "image"] = "maps"

    @model_validator(mode="after")
    def _several_of_what(self) -> Self:
        if self.draws != 10 and self.baseline != "uniform":
            raise ValueError("draws has no effect unless baseline is uniform; leave it out")
        if self.several == "image" and not isinstance(self.baseline, Path):
            raise ValueError("several: image needs the path of a folder of images as baseline; leave it out")
        return self

    @property
    def count(self) -> int:
        """The number of references; 1 for a folder that is missing, which ``files`` says."""
        if self.baseline == "uniform":
            return self.draws
        is_folder = isinstance(self.baseline, Path) and self.baseline.is_dir()
        return max(1, len(self.files)) if is_folder and self.several == "maps" else 1


@dataclass(frozen=True)
class Reference:
    """Reference images (n, c, *space), or one image (1, c, *space) for all samples; ``key`` names them in a batch."""

    key: Hashable
    images: Tensor

    @property
    def is_shared(self) -> bool:
        """Whether all samples of any batch have the same image."""
        return len(self.images) == 1

    def at(self, rows: slice) -> Tensor:
        """The images of some samples, or the one of all."""
        return self.images if self.is_shared else self.images[rows]


def constant(batch: Batch, value: float) -> Reference:
    """An image of one value."""
    return Reference(value, torch.full_like(batch.images[:1], value))


def references(batch: Batch, params: ReferenceParams) -> Iterator[Reference]:
    """The references of a batch, one after the other.

    Raises ``DataError`` for a file that cannot be read, and ``ModelError`` for one that the model cannot prepare to the
    shape of the images, or for another number of channels.
    """
    baseline = params.baseline
    if baseline == "uniform":
        for draw in range(params.draws):
            yield Reference((baseline, draw), _random(batch, draw))
    elif not isinstance(baseline, Path):
        yield _fixed(batch, baseline)
    else:
        prepared = (_prepared(batch, path) for path in params.files)
        if params.several == "image":
            mean = reduce(add, prepared) / len(params.files)
            yield Reference((str(baseline), "mean", params.content()), mean)
        else:
            for path, image in zip(params.files, prepared):
                yield Reference((str(path), file_digest(path)), image)


def drawn(batch: Batch, params: BaselineParams, draw: int) -> Tensor:
    """The reference images (n, c, *space) of one draw: of a folder, a random image for each sample.

    They depend on the seed, the sample's id and the draw. Raises as ``references``.
    """
    baseline = params.baseline
    if baseline == "uniform":
        return _random(batch, draw)
    if not isinstance(baseline, Path):
        return _fixed(batch, baseline).images.expand_as(batch.images)
    files = params.files
    picks = (files[generator(batch.seed, id, "reference", draw).integers(len(files))] for id in batch.ids)
    images = [batch.once(("prepared reference", str(path)), partial(_prepared, batch, path)) for path in picks]
    return torch.cat(images)


def _fixed(batch: Batch, baseline: float | tuple[float, ...] | str) -> Reference:
    """The reference of a constant, of one per channel, or of the mean of each channel."""
    if isinstance(baseline, (int, float)):
        return constant(batch, baseline)
    if isinstance(baseline, tuple):
        return Reference(baseline, _per_channel(batch, baseline))
    images = batch.images.detach()
    means = images.mean(tuple(range(2, images.ndim)), keepdim=True).expand_as(images)
    return Reference(baseline, require_finite(means, batch.ids, "the mean", "scale the image to a smaller range"))


def _random(batch: Batch, draw: int) -> Tensor:
    """Noise (n, c, *space) between the smallest and largest value of each channel."""
    images = batch.images.detach()
    axes = tuple(range(2, images.ndim))
    return torch.lerp(images.amin(axes, keepdim=True), images.amax(axes, keepdim=True), _uniform(batch, draw))


def _uniform(batch: Batch, draw: int) -> Tensor:
    """Uniform noise in [0, 1) (n, c, *space), by the seed, the sample's id and the draw."""
    channels = batch.images.shape[1]
    return torch.stack([batch.uniform(draw * channels + channel) for channel in range(channels)], 1)


def _per_channel(batch: Batch, values: tuple[float, ...]) -> Tensor:
    channels = batch.images.shape[1]
    if len(values) != channels:
        raise ModelError(f"baseline has {len(values)} values, one per channel; the images have {channels} channels.")
    levels = batch.images.new_tensor(values).reshape(1, -1, *(1,) * len(batch.space))
    return levels.expand(1, -1, *batch.space).contiguous()


def _prepared(batch: Batch, path: Path) -> Tensor:
    """The image (1, c, *space) of a file, as the model prepares it."""
    pixels, geometry = read_image(path)
    image = batch.model.prepare(Sample(path.stem, pixels, geometry=geometry)).image
    if image.shape != tuple(batch.images.shape[1:]):
        raise ModelError(
            f"the reference {path} is {image.shape} as {batch.model.short} prepares it, the images are "
            f"{tuple(batch.images.shape[1:])}; give an image of the same kind."
        )
    prepared = torch.from_numpy(image.copy())[None].to(batch.images)
    return require_finite(prepared, [path.name], "the reference", "give another image")
