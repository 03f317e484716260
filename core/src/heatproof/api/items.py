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
from torch.utils.data import DataLoader, IterableDataset

from ..digests import digest
from ..errors import DataError
from ..imaging.images import read_image
from ..imaging.pixels import exif_orientation, pixels_of
from ..records import Array, Geometry
from .annotations import FINDING, RawAnnotations
from .layout import Form, array_of, channels_first, divided

KEYS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img", "images", "pixel_values", "input", "x"),
    "label": ("label", "labels", "class", "target", "y"),
    "mask": ("mask", "masks", "seg", "segmentation"),
}
"""The usual keys of an item of a torch dataset that is a mapping."""


@dataclass(frozen=True)
class Item:
    """One image as its owner has it, with a label and annotations where they come with it."""

    image: Any
    label: Any = None
    annotations: RawAnnotations = ()

    @property
    def path(self) -> Path | None:
        """The file of the image; None for an image in memory."""
        return Path(self.image) if isinstance(self.image, (str, PathLike)) else None

    def pixels(self, form: Form, name: str) -> tuple[Array, Geometry]:
        """The image (c, *space) in its own values, and its geometry; ``name`` is for messages."""
        if self.path is not None:
            return read_image(self.path)
        if isinstance(self.image, Image.Image):
            image = pixels_of(self.image, Path(name), exif_orientation(self.image))
        else:
            image = channels_first(array_of(self.image), form, name)
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
    """The items of a torch dataset, each read when it is needed."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Item]:
        # A torch dataset need not raise IndexError behind its end.
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return item_of(self.dataset[index], f"item {index} of the dataset")


def item_of(value: Any, name: str) -> Item:
    """An item of a torch dataset: an image, a tuple of image, label and mask in any order, or a mapping of them.

    Raises ``DataError`` for anything else.
    """
    if isinstance(value, Mapping):
        parts = {part: _first(value, keys) for part, keys in KEYS.items()}
        if parts["image"] is None:
            raise DataError(f"{name} has the keys {', '.join(map(str, value))}; allowed for its image: {KEYS['image']}")
        return _item(parts["image"], [parts["label"], parts["mask"]], name)
    if isinstance(value, (tuple, list)) and value:
        return _item(value[0], value[1:], name)
    return Item(value)


def _first(value: Mapping[Any, Any], keys: Iterable[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _item(image: Any, others: Iterable[Any], name: str) -> Item:
    label: Any = None
    annotations: RawAnnotations = ()
    for other in others:
        if isinstance(other, Mapping):
            nested = {part: _first(other, keys) for part, keys in KEYS.items()}
            other_item = _item(image, [nested["label"], nested["mask"]], name)
            label = other_item.label if label is None else label
            annotations += other_item.annotations
        elif isinstance(other, Image.Image) or (not isinstance(other, str) and np.ndim(other) >= 2):
            annotations += ((FINDING, "mask", other),)
        elif other is not None and label is None:
            label = other
    return Item(image, label, annotations)


def items_of(images: Any, form: Form, count: int | None) -> Sequence[Item]:
    """The items of what a caller calls images; ``count`` is their number where labels or annotations tell it.

    Arrays and tensors are one image or a batch; a list has an entry per image; torch datasets and loaders give items.
    A loader's batches and its shuffling do not matter. Raises ``DataError`` for anything else.
    """
    if isinstance(images, DataLoader):
        images = images.dataset
    if isinstance(images, IterableDataset):
        return [item_of(value, f"item {index} of the dataset") for index, value in enumerate(images)]
    if isinstance(images, (str, PathLike, Image.Image)):
        return [Item(images)]
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return [Item(image) for image in divided(array_of(images), form, count)]
    if isinstance(images, (list, tuple)):
        return [item for value in images for item in _listed_items(value, form)]
    if hasattr(images, "__getitem__") and hasattr(images, "__len__"):
        return TorchItems(images)
    raise DataError(
        f"images are a {type(images).__name__}; give arrays, tensors, images, paths, a folder, a torch dataset or "
        "loader, or a dataset of heatproof."
    )


def _listed_items(value: Any, form: Form) -> list[Item]:
    """The item of an entry of a list; an array with a first axis of one image is that image."""
    if isinstance(value, (str, PathLike, Image.Image)):
        return [Item(value)]
    array = array_of(value)
    if array.ndim == form.axes + 2 and len(array) == 1:
        array = array[0]
    return [Item(array)]
