"""Regions: where the logits per pixel of a segmentation network are summed to the score of a class."""

import math
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field
from torch import Tensor

from .component import Params
from .dataset import Dataset
from .errors import DataError, ModelError, Undefined, near
from .imaging.area import coverage
from .model import Model
from .records import Array, Sample

Region = Literal["mask", "predicted"]
"""``mask``: the annotation of the class; ``predicted``: the pixels at which the network predicts the class."""
HEADS = ("softmax", "sigmoid")
"""The heads that predict classes at a pixel."""
IN_CONFIG = "{class: CLASS, region: mask} or {class: CLASS, region: predicted}"
"""The targets of a network with logits per pixel, in the words of a config."""


class RegionTarget(Params):
    """A class of a network with logits per pixel; its score is their sum over a region (Vinogradova et al. 2020).

    ``class`` is a name or an index. ``region`` is the ``mask`` that annotates the class, or where it is ``predicted``
    on the unchanged image.
    """

    name: Annotated[int, Field(strict=True, ge=0)] | str = Field(alias="class")
    region: Region


def titled(name: str, region: Region) -> str:
    """The target as tables name it."""
    return f"{name} (region: {region})"


def parted(target: str) -> tuple[str, str]:
    """The class and the region of a target as tables name it; the region is empty for a class of the whole image.

    >>> parted("left (region: mask)"), parted("left")
    (('left', 'mask'), ('left', ''))
    """
    for region in get_args(Region):
        if target.endswith(titled("", region)):
            return target.removesuffix(titled("", region)), region
    return target, ""


def class_over_region(model: Model, target: RegionTarget) -> str:
    """The name of a target's class; raises ``ModelError`` for a model that has no such class or no region."""
    if target.name in ("predicted", "label") and target.name not in model.classes:
        raise ModelError(
            f"the target {{class: {target.name}, region: {target.region}}} names no class; a network with logits per "
            f"pixel decides on no class of the image, so name one of {', '.join(model.classes)}."
        )
    if model.outline.per_pixel is False:
        raise ModelError(
            f"{model.short} gives one logit per class for the whole image, so it has no region: {target.region}; "
            f"give the class alone, as in targets: [{target.name}]."
        )
    if model.head not in HEADS:
        raise ModelError(
            f"{model.short} has the head {model.head}, so no class is predicted at a pixel; a region needs the head "
            f"{' or '.join(HEADS)}."
        )
    return model.classes[model.target(target.name)]


def over_region(dataset: Dataset, model: Model, target: RegionTarget) -> str:
    """The target as tables name it; raises ``ModelError`` where the model or the dataset cannot give its region."""
    name = class_over_region(model, target)
    if target.region == "mask" and name not in dataset.findings:
        raise ModelError(
            f"{dataset.short} does not annotate {name!r}, so it has no region: mask; a class has the name of its "
            f"finding ({near(name, dataset.findings)})."
        )
    return titled(name, target.region)


def require_whole_image(model: Model) -> None:
    """Raise ``ModelError`` for a network with logits per pixel, whose targets need a region."""
    if model.outline.per_pixel:
        raise ModelError(f"{model.short} gives logits per pixel, so a target needs a class and a region: {IN_CONFIG}.")


def summed(logits: Tensor, region: Tensor | None, name: str) -> Tensor:
    """The scores (n, class): logits (n, class) as they are, or logits per pixel (n, class, *grid) summed over a region.

    ``region`` (n, *grid) is the weight of each pixel, from 0 to 1, and constant: no gradient passes through it. It may
    broadcast to the grid. ``name`` is the model's in messages. Raises ``ModelError`` where logits and region do not
    belong together.
    """
    shape = tuple(logits.shape)
    if len(shape) < 3 or math.prod(shape[2:]) == 1:
        if len(shape) != 2 or region is not None:
            reason = "; name a class without a region" if region is not None else ""
            raise ModelError(f"{name} gives logits of shape {shape}; allowed: (images, classes){reason}.")
        return logits
    if region is None:
        raise ModelError(
            f"{name} gives logits per pixel, of shape {shape}, so a target needs a class and a region: {IN_CONFIG}."
        )
    if any(size not in (1, cells) for size, cells in zip(region.shape[1:], shape[2:], strict=True)):
        raise ModelError(f"{name} gives logits on a grid of {shape[2:]}; the region has {tuple(region.shape[1:])}.")
    weights = region.detach().to(logits)[:, None]
    return (logits * weights).flatten(2).sum(2)


def whole(model: Model, images: Tensor) -> Tensor | None:
    """The region of everything, for images (n, c, *space); None for a network without logits per pixel."""
    if not model.outline.per_pixel:
        return None
    return images.new_ones((len(images), *(1,) * (images.ndim - 2)))


def predicted(model: Model, logits: Tensor, targets: Tensor) -> Tensor:
    """Where each sample's class is predicted (n, *grid) bool, from logits per pixel (n, logit, *grid).

    That is where its logit is the largest of a softmax head, the first of equal ones, or where the probability of a
    sigmoid head exceeds 0.5. Raises ``ModelError`` for logits that do not fit the classes.
    """
    scores = model.scores(logits)
    count = scores.shape[1]
    if count != len(model.classes):
        raise ModelError(
            f"{model.short} gives {count} logits per pixel for {len(model.classes)} classes; give a name to each logit "
            "in classes."
        )
    if model.head == "softmax" and count == 1:
        raise ModelError(
            f"{model.short} gives one logit per pixel, which a softmax predicts everywhere; set the head to sigmoid."
        )
    index = targets.reshape(-1, *(1,) * (scores.ndim - 1))
    if model.head == "softmax":
        return (scores.argmax(1, keepdim=True) == index)[:, 0]
    of_target: Tensor = scores.gather(1, index.expand(-1, 1, *scores.shape[2:]))
    return of_target[:, 0] > 0


def annotated(sample: Sample, finding: str, grid: tuple[int, ...]) -> Array:
    """The share of each cell of a grid (*grid) float32 that is annotated with a finding, by area.

    The grid covers the whole prepared image by cells of a whole number of pixels along each axis. Raises ``Undefined``
    for a sample whose annotation is no mask or box, and ``DataError`` for any other grid.
    """
    values = sample.mask(finding)
    if values is None:
        raise Undefined(f"{finding!r} is not annotated on this image, so it has no region: mask")
    if any(item.kind == "density" for item in sample.annotations if item.finding == finding):
        raise Undefined(f"the annotation of {finding!r} is a density; region: mask needs a mask or a box")
    if len(grid) != len(sample.space) or any(size % cells for size, cells in zip(sample.space, grid)):
        raise DataError(
            f"logits on a grid of {' × '.join(map(str, grid))} do not divide an image of "
            f"{' × '.join(map(str, sample.space))} into cells of whole pixels, so its mask cannot be put on them; "
            "resize the logits to the image in the model's build()."
        )
    edges = [np.arange(cells + 1) * (size // cells) for size, cells in zip(sample.space, grid)]
    return coverage(np.asarray(values, dtype=np.float32), edges)
