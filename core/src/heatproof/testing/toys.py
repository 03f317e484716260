"""Toys: images with exact masks, and tiny networks whose evidence is known in closed form; all of it generated."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from ..batch import Batch
from ..component import Params
from ..dataset import Dataset
from ..errors import DataError
from ..explainer import Explainer
from ..imaging.transforms import Preparation
from ..model import Model
from ..passes import gradients
from ..records import Annotation, Array, Geometry, Sample
from ..seeding import generator

GRID = 16
"""Pixels of the toys' grid along each dimension."""
SPANS = ((2, 8), (8, 14))
"""Where the left and the right region lie on the grid, along each dimension."""
SIDES = ("left", "right")
CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLINGS: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEANS: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def region(side: int, dimensions: int = 2, size: int = GRID) -> Array:
    """The region of one side (*space) bool on a grid of ``size`` pixels."""
    scale = size / GRID
    inside = np.zeros((size,) * dimensions, dtype=bool)
    inside[(slice(round(SPANS[side][0] * scale), round(SPANS[side][1] * scale)),) * dimensions] = True
    return inside


class BlobsParams(Params):
    """``count`` images of ``size`` pixels along each of ``dimensions``, drawn by ``seed``."""

    count: int = 12
    size: int = 64
    dimensions: Literal[2, 3] = 2
    seed: int = 0


B = TypeVar("B", bound=BlobsParams, default=BlobsParams, covariant=True)


class Blobs(Dataset[B]):
    """Images with a red blob in the left region and a green one in the right; the brighter one is the class.

    Patients have two images each; masks are exact.
    """

    classes = SIDES
    findings = SIDES
    splits = ("tuning", "test")
    tuning = "tuning"
    synthetic = True

    def ids(self, split: str | None = None) -> list[str]:
        """The first half of the patients tunes, the other half tests."""
        self.require_split(split)
        names = [f"blob-{index:03}" for index in range(self.params.count)]
        middle = self.params.count // 4 * 2
        return {None: names, "tuning": names[:middle], "test": names[middle:]}[split]

    def patient(self, id: str) -> str:
        """Two images in a row belong to one patient."""
        return f"patient-{self._index(id) // 2:03}"

    def load(self, id: str) -> Sample:
        """The image (3, *space) uint8 with one mask per side."""
        label = self._index(id) % 2
        draw = generator(self.params.seed, id, "blobs")
        space = (self.params.size,) * self.params.dimensions
        image = draw.uniform(20, 50, (3, *space))
        masks = [self._disc(draw, side) for side in range(2)]
        for side, mask in enumerate(masks):
            image[side] += mask * draw.uniform(140, 180, space) * (1.0 if side == label else 0.7)
        annotations = tuple(Annotation(side, mask.astype(np.float32)) for side, mask in zip(SIDES, masks))
        return Sample(
            id, image.astype(np.uint8), annotations, label, self.patient(id), Geometry.identity(space, id),
            np.ones(space, dtype=bool),
        )  # fmt: skip

    def _index(self, id: str) -> int:
        names = self.ids()
        if id not in names:
            raise DataError(f"{self.short} has no sample {id!r}; its ids run from {names[0]!r} to {names[-1]!r}.")
        return names.index(id)

    def _disc(self, draw: np.random.Generator, side: int) -> Array:
        """A disc inside the region, a little off its centre."""
        scale = self.params.size / GRID
        center = np.mean(SPANS[side]) * scale + draw.uniform(-0.4, 0.4, self.params.dimensions) * scale
        axes = np.indices((self.params.size,) * self.params.dimensions) + 0.5
        squares = ((axes - center.reshape(-1, *(1,) * self.params.dimensions)) ** 2).sum(0)
        return np.asarray(squares < (2.5 * scale) ** 2)


class Blocks(Preparation):
    """Averages blocks of pixels down to the toys' grid, exactly: images become float32 in 0…1."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid; its size must be a multiple of the grid's."""
        if any(size % GRID for size in sample.space):
            raise DataError(f"toys take images of a multiple of {GRID} pixels; {sample.id} has {sample.space}.")
        scale = np.diag([*(size / GRID for size in sample.space), 1.0])
        geometry = sample.geometry or Geometry.identity(sample.space)
        return replace(
            sample,
            image=np.stack([_averaged(channel) for channel in sample.image / 255]),
            annotations=tuple(replace(one, values=_averaged(one.values)) for one in sample.annotations),
            geometry=geometry.through(scale),
            field=np.ones((GRID,) * len(sample.space), bool) if sample.field is None else _averaged(sample.field) > 0.5,
        )


def _averaged(values: Array) -> Array:
    split = [part for size in values.shape for part in (GRID, size // GRID)]
    blocks = np.asarray(values, dtype=np.float64).reshape(split)
    return np.asarray(blocks.mean(tuple(range(1, len(split), 2))), dtype=np.float32)


class ToyParams(Params):
    """``dimensions`` of the images; ``seed`` of drawn weights."""

    dimensions: Literal[2, 3] = 2
    seed: int = 0


P = TypeVar("P", bound=ToyParams, default=ToyParams, covariant=True)


class Toy(Model[P]):
    """A tiny network on the toys' grid with one class per side."""

    classes: tuple[str, ...] = SIDES
    preparation = Blocks()
    dataset_size: ClassVar[dict[int, int]] = {2: 64, 3: 32}

    def samples(self, count: int = 4) -> list[Sample]:
        """Prepared samples that fit this network."""
        dimensions = self.params.dimensions
        blobs = Blobs(count=max(count, 4), size=self.dataset_size[dimensions], dimensions=dimensions)
        return [self.prepare(blobs.load(id)) for id in blobs.ids()[:count]]


class Linear(Toy[P]):
    """Each class has weight 3 on its own region and -1 on the other's, nothing elsewhere: the gradient is known."""

    def build(self) -> nn.Module:
        """Flatten and one linear layer without bias."""
        layer = nn.Linear(3 * GRID**self.params.dimensions, 2, bias=False)
        layer.weight.data = torch.stack([self.weights(side).flatten() for side in range(2)])
        return nn.Sequential(nn.Flatten(), layer)

    def weights(self, side: int) -> Tensor:
        """The weights (3, *space) of one class."""
        own, other = (region(index, self.params.dimensions) for index in (side, 1 - side))
        return torch.from_numpy(np.stack([3.0 * own - 1.0 * other] * 3)).float()


class Regions(Toy[P]):
    """Each class is driven by its blob alone: features of one colour above a threshold, read in one region.

    The left logit rises with red in the left region and falls a little with green in the right one, and the reverse.
    """

    def build(self) -> nn.Module:
        """Convolution, ReLU, max-pooling, convolution, ReLU and a linear layer that reads positions."""
        kinds, dimensions = CONVOLUTIONS[self.params.dimensions], self.params.dimensions
        colours, neighbours = kinds(3, 2, 3, padding=1), kinds(2, 2, 3, padding=1)
        reader = nn.Linear(2 * (GRID // 2) ** dimensions, 2, bias=False)
        _set(colours, np.eye(2, 3)[(..., *(None,) * dimensions)] * np.full((3,) * dimensions, 3.0**-dimensions), -0.3)
        _set(neighbours, np.eye(2)[(..., *(None,) * dimensions)] * _peak(dimensions), 0.0)
        reader.weight.data = torch.from_numpy(np.stack([self._read(side).ravel() for side in range(2)])).float()
        relus = nn.ReLU(), nn.ReLU()
        return nn.Sequential(
            colours, relus[0], POOLINGS[dimensions](2), neighbours, relus[1], nn.Flatten(), reader
        )  # fmt: skip

    def _read(self, side: int) -> Array:
        """The weights (feature, *half grid) of one class."""
        weights = np.zeros((2, *(GRID // 2,) * self.params.dimensions))
        weights[side] = region(side, self.params.dimensions, GRID // 2)
        weights[1 - side] = -0.25 * region(1 - side, self.params.dimensions, GRID // 2)
        return weights


class Piecewise(Toy[P]):
    """A network without biases: its score is the sum of image times gradient."""

    def build(self) -> nn.Module:
        """Two convolutions with ReLU, max-pooling, mean and a linear layer; drawn weights."""
        kind, dimensions = CONVOLUTIONS[self.params.dimensions], self.params.dimensions
        network = nn.Sequential(
            kind(3, 4, 3, padding=1, bias=False), nn.ReLU(), POOLINGS[dimensions](2),
            kind(4, 6, 3, padding=1, bias=False), nn.ReLU(), MEANS[dimensions](1), nn.Flatten(),
            nn.Linear(6, 2, bias=False),
        )  # fmt: skip
        return drawn(network, self.params.seed)


class Residual(Toy[P]):
    """What real networks have: BatchNorm, a skip connection and one ReLU in place that serves several layers."""

    classes = ("left", "right", "neither")

    def build(self) -> nn.Module:
        """A residual block between two convolutions; drawn weights and statistics."""
        return drawn(_Residual(self.params.dimensions), self.params.seed)


class _Residual(nn.Module):
    def __init__(self, dimensions: int):
        super().__init__()
        kind, norm = CONVOLUTIONS[dimensions], BATCH_NORMS[dimensions]
        self.stem, self.stem_norm = kind(3, 6, 3, padding=1, bias=False), norm(6)
        self.block, self.block_norm = kind(6, 6, 3, padding=1, bias=False), norm(6)
        self.last, self.last_norm = kind(6, 8, 3, stride=2, padding=1), norm(8)
        self.relu = nn.ReLU(inplace=True)
        self.mean, self.head = MEANS[dimensions](1), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.relu(self.stem_norm(self.stem(images)))
        values = self.relu(self.block_norm(self.block(values)) + values)
        values = self.relu(self.last_norm(self.last(values)))
        logits: Tensor = self.head(self.mean(values).flatten(1))
        return logits


class Graded(Toy[P]):
    """One output on the scale of five grades, in the middle of it for any image: for methods that need grades."""

    classes = ("none", "mild", "moderate", "severe", "worst")
    head = "regression"

    def build(self) -> nn.Module:
        """Two convolutions with ReLU, mean and a linear layer; drawn weights."""
        kind, dimensions = CONVOLUTIONS[self.params.dimensions], self.params.dimensions
        head = nn.Linear(4, 1)
        network = nn.Sequential(
            kind(3, 4, 3, padding=1), nn.ReLU(), kind(4, 4, 3, padding=1), nn.ReLU(), MEANS[dimensions](1),
            nn.Flatten(), head,
        )  # fmt: skip
        drawn(network, self.params.seed)
        head.bias.data.fill_(3.0)
        return network


class Slope(Explainer):
    """Image times gradient: the explainer with which metrics are tried."""

    def explain(self, batch: Batch) -> Tensor:
        """Maps (n, c, *space)."""
        return batch.images * gradients(batch).images


def drawn(network: nn.Module, seed: int) -> nn.Module:
    """The network with every parameter and statistic drawn by its own name: the same on every machine."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            draw = generator(seed, name).standard_normal(tuple(value.shape))
            value.copy_(torch.from_numpy(_scaled(name, draw)))
    return network


def _scaled(name: str, draw: Array) -> Array:
    if name.endswith("running_var"):
        return 0.5 + np.abs(draw)
    if draw.ndim == 1:
        return 0.1 * draw + (1.0 if name.endswith("weight") else 0.0)
    return np.asarray(draw * np.sqrt(2 / draw[0].size))


def _set(layer: Any, weights: Array, bias: float) -> None:
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weights)).float()
    layer.bias.data.fill_(bias)


def _peak(dimensions: int) -> Array:
    """A kernel of 3 pixels per dimension: 1 in the middle, 0.05 around it."""
    kernel = np.full((3,) * dimensions, 0.05)
    kernel[(1,) * dimensions] = 1.0
    return kernel
