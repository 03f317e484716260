"""What a caller has of each image: the image, its label and its annotations, from lists, torch datasets or loaders."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    default_convert,
)

from ..digests import digest
from ..errors import DataError
from ..imaging.images import read_image
from ..imaging.pixels import exif_orientation, pixels_of
from ..imaging.window import Window, seen_through
from ..records import Array, Geometry
from .annotations import FINDING, RawAnnotations
from .layout import Form, array_of, channels_first, divided

KEYS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img", "images", "pixel_values", "input", "x"),
    "label": ("label", "labels", "class", "target", "y"),
    "mask": ("mask", "masks", "seg", "segmentation"),
}
"""The usual keys of a sample of a torch dataset that is a mapping."""
OTHERS = KEYS["label"] + KEYS["mask"]


@dataclass(frozen=True)
class Item:
    """One image as its owner has it, with a label and annotations where they come with it."""

    image: Any
    label: Any = None
    annotations: RawAnnotations = ()
    unclear: bool = False
    """Whether several values of the sample could be its label."""

    @property
    def path(self) -> Path | None:
        """The file of the image; None for an image in memory."""
        return Path(self.image).expanduser() if isinstance(self.image, (str, PathLike)) else None

    def pixels(self, form: Form, name: str, window: Window | None = None) -> tuple[Array, Geometry]:
        """The image (c, *space) in its own values or through a window, and its geometry; ``name`` is for messages."""
        if self.path is not None:
            return read_image(self.path, window=window)
        if isinstance(self.image, Image.Image):
            image = pixels_of(self.image, Path(name), exif_orientation(self.image))
        else:
            image = channels_first(array_of(self.image), form, name)
        if window is not None:
            image = seen_through(image, window, Path(name))
        return image, Geometry.identity(image.shape[1:])

    def digest(self, annotations: RawAnnotations = ()) -> str:
        """The digest of what lies in memory of the image and its annotations, with further ``annotations``.

        Files count by their names only, since a run digests their contents.
        """
        every = (*self.annotations, *annotations)
        return digest([_content(self.image), [[finding, kind, _content(value)] for finding, kind, value in every]])


def _content(value: Any) -> Any:
    """A value that JSON can write and that tells other contents apart."""
    if isinstance(value, (str, PathLike)):
        return str(Path(value).name)
    if isinstance(value, (list, tuple)):
        return [_content(entry) for entry in value]
    array = np.asarray(value) if isinstance(value, Image.Image) else array_of(value)
    content = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
    return [str(array.dtype), list(array.shape), content]


class TorchItems(Sequence[Item]):
    """The samples of a torch dataset, each read when it is needed."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Item]:
        # A torch dataset need not raise IndexError behind its end.
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return item_of(self.dataset[index], f"sample {index} of the dataset")


def item_of(value: Any, name: str) -> Item:
    """A sample of a torch dataset: an image, a tuple of image, label and mask in any order, or a mapping of them.

    Raises ``DataError`` for anything else.
    """
    if isinstance(value, Mapping):
        image = next(_values(value, KEYS["image"]), None)
        if image is None:
            allowed = ", ".join(KEYS["image"])
            raise DataError(f"{name} has the keys {', '.join(map(str, value))}; allowed for its image: {allowed}.")
        return _item(image, _values(value, OTHERS))
    if isinstance(value, (tuple, list)) and value:
        return _item(value[0], value[1:])
    return Item(value)


def _values(value: Mapping[Any, Any], keys: Iterable[str]) -> Iterator[Any]:
    return (value[key] for key in keys if value.get(key) is not None)


def _item(image: Any, others: Iterable[Any]) -> Item:
    labels: list[Any] = []
    annotations: RawAnnotations = ()
    for other in others:
        if isinstance(other, Mapping):
            nested = _item(image, _values(other, OTHERS))
            labels += [] if nested.label is None else [nested.label]
            annotations += nested.annotations
        elif isinstance(other, Image.Image) or (not isinstance(other, str) and np.ndim(other) >= 2):
            annotations += ((FINDING, "mask", other),)
        elif other is not None:
            labels.append(other)
    return Item(image, next(iter(labels), None), annotations, len(labels) > 1)


def items_of(images: Any, form: Form, count: int | None) -> Sequence[Item]:
    """The samples of what a caller calls images; ``count`` is their number where labels or annotations tell it.

    Arrays and tensors are one image or a batch; a list has an entry per image; torch datasets and loaders give samples.
    A loader's batches and its shuffling do not matter. Raises ``DataError`` for anything else.
    """
    if isinstance(images, DataLoader):
        images = _dataset_of(images)
    if hasattr(images, "iloc") and np.ndim(images) == 1:
        images = list(images)  # a series of pandas has labels for positions
    if isinstance(images, IterableDataset):
        return [item_of(value, f"sample {index} of the dataset") for index, value in enumerate(images)]
    if isinstance(images, (str, PathLike, Image.Image)):
        return [Item(images)]
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return [Item(image) for image in divided(array_of(images), form, count)]
    if isinstance(images, (list, tuple)):
        return [item for value in images for item in _listed_items(value, form)]
    if hasattr(images, "__getitem__") and hasattr(images, "__len__") and not _has_keys(images):
        return TorchItems(images)
    if isinstance(images, Iterator):
        raise DataError(f"images are a {type(images).__name__}, which can be read only once; give list(images).")
    raise DataError(
        f"images are a {type(images).__name__}; give arrays, tensors, images, paths, a folder, a torch dataset or "
        "loader, or a dataset of heatproof."
    )


def _has_keys(images: Any) -> bool:
    """Whether images are a mapping or a table, whose entries have no position."""
    return isinstance(images, Mapping) or hasattr(images, "columns")


def _dataset_of(loader: Any) -> Any:
    """The dataset of a loader; raises ``DataError`` where the loader gives other samples than its dataset."""
    if loader.collate_fn not in (default_collate, default_convert):
        raise DataError(
            "the loader has a collate_fn of its own, which heatproof does not call; give the loader's dataset, with "
            "what collate_fn does done in its samples."
        )
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    whole = isinstance(sampler, (SequentialSampler, RandomSampler)) and len(sampler) == len(loader.dataset)
    if not isinstance(loader.dataset, IterableDataset) and not whole:
        raise DataError(
            f"the loader takes samples by a {type(sampler).__name__}, which heatproof does not follow; give it a "
            "torch.utils.data.Subset of the samples to use."
        )
    return loader.dataset


def _listed_items(value: Any, form: Form) -> list[Item]:
    """The sample of an entry of a list; an array with a first axis of one image is that image."""
    if isinstance(value, (str, PathLike, Image.Image)):
        return [Item(value)]
    if isinstance(value, (tuple, Mapping)):
        return [item_of(value, "an entry of images")]
    array = array_of(value)
    if array.ndim == form.axes + 2 and len(array) == 1:
        array = array[0]
    return [Item(array)]
