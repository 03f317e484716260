"""Class maximization: images that a network scores highest for a class (Simonyan et al. 2014)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .cases import targets_of
from .drawing import new_figure, scaled
from .feature_maps import planes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 1e-8
SMALLEST = 1e-12
GROWTH = 1.5


class ClassMaximizationParams(Params):
    """``target``: a class, by default all. ``l2`` (lambda), ``total_variation`` and ``l6`` are weights of penalties.

    ``step`` is the first step size, and ``steps`` the most steps. ``tolerance``: an image has converged where no
    derivative is larger. ``noise`` is the standard deviation of the image at which the ascent begins, 0 for zero.
    """

    target: str | Annotated[int, Field(ge=0)] | None = None
    steps: Annotated[int, Field(ge=1, le=100_000)] = 200
    l2: Annotated[float, Field(gt=0, le=1e6)] = 0.01
    total_variation: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    l6: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    step: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    tolerance: Annotated[float, Field(gt=0, le=1)] = 1e-6
    noise: Annotated[float, Field(ge=0, le=1e3)] = 0.0


@dataclass(frozen=True)
class Maximum:
    """Images (n, c, *space) with their scores before and after (n,), and which (n,) converged."""

    images: Tensor
    before: Tensor
    after: Tensor
    converged: Tensor


def total_variation(images: Tensor) -> Tensor:
    """Return the sum of absolute differences of neighbours (n,), along all axes of images (n, c, *space).

    Each is smoothed: sqrt(d² + 1e-8) - 1e-4, which is 0 for d = 0.
    """
    sums = [
        ((images.diff(dim=axis) ** 2 + SMOOTHING).sqrt() - SMOOTHING**0.5).flatten(1).sum(1)
        for axis in range(2, images.ndim)
    ]
    return torch.stack(sums).sum(0)


def penalty(images: Tensor, params: ClassMaximizationParams) -> Tensor:
    """Return what is subtracted from the score of images (n, c, *space): (n,)."""
    result = params.l2 * (images**2).flatten(1).sum(1)
    if params.total_variation:
        result = result + params.total_variation * total_variation(images)
    if params.l6:
        result = result + params.l6 * (images**6).flatten(1).sum(1)
    return result


def ascended(batch: Batch, images: Tensor, params: ClassMaximizationParams) -> Maximum:
    """Ascend score - penalty from images (n, c, *space), for the targets of a batch.

    Each image has a step size: half as large after a step that would not ascend, 1.5 times after one that does.
    """
    sizes = torch.full((len(images),), params.step, dtype=images.dtype, device=images.device)
    value, score, gradient = _evaluated(batch, images, params)
    before = score
    converged = torch.zeros_like(sizes, dtype=torch.bool)
    for _ in range(params.steps):
        converged = (gradient.flatten(1).abs().amax(1) <= params.tolerance) | (sizes < SMALLEST)
        if bool(converged.all()):
            break
        proposed = images + _each(sizes, images) * gradient
        new_value, new_score, new_gradient = _evaluated(batch, proposed, params)
        better = (new_value > value) & ~converged
        images = torch.where(_each(better, images), proposed, images)
        gradient = torch.where(_each(better, images), new_gradient, gradient)
        value = torch.where(better, new_value, value)
        score = torch.where(better, new_score, score)
        sizes = sizes * torch.where(better, GROWTH, 0.5)
    return Maximum(images, before, score, converged)


def _evaluated(batch: Batch, images: Tensor, params: ClassMaximizationParams) -> tuple[Tensor, Tensor, Tensor]:
    """The objective (n,), the score (n,), and the gradient of the objective by the images."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        moved = batch.at(leaf)
        score = moved.pick(moved.forward()[0])
        value = score - penalty(leaf, params)
        (gradient,) = torch.autograd.grad(value.sum(), [leaf], materialize_grads=True)
    return value.detach(), score.detach(), gradient.detach()


def _each(values: Tensor, images: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (images.ndim - 1))


class ClassMaximization(Inspector[ClassMaximizationParams]):
    """Shows an image per class that maximizes score - l2 |x|² - total_variation TV(x) - l6 Σx⁶, by gradient ascent.

    The image is on the scale of prepared images. It shows what the network looks for, not what the class looks like.
    """

    def inspect(self, subject: Subject) -> Inspection:
        """Return an image per class, and a table of scores; raises ``ModelError`` for an unknown class."""
        targets = targets_of(subject.model, self.params.target)
        parts = [self._maximum(subject, target) for target in targets]
        rows = [self._row(name, part) for name, part in zip(targets.values(), parts)]
        figure = _figure([part.images[0].float().cpu().numpy() for part in parts], [row["class"] for row in rows])
        sentences = [_sentence(row) for row in rows]
        return Inspection(tuple(sentences), {"maximization": rows}, {"maximization": figure})

    def _maximum(self, subject: Subject, target: int) -> Maximum:
        batch = subject.batch([0], [target])
        images = torch.zeros_like(batch.images)
        if self.params.noise:
            draws = subject.generator("maximization", target).standard_normal(tuple(images.shape))
            images = torch.from_numpy(self.params.noise * draws).to(images)
        return ascended(batch, images, self.params)

    def _row(self, name: str, part: Maximum) -> dict[str, Any]:
        return {
            "class": name, "before": float(part.before), "after": float(part.after),
            "norm": float(part.images.double().norm()),
            "objective": float(part.after - penalty(part.images, self.params)), "converged": bool(part.converged),
        }  # fmt: skip


def _sentence(row: dict[str, Any]) -> str:
    name = row["class"]
    if row["norm"] == 0:
        return (
            f"The image for {name} stays zero: no derivative of the score is larger than the tolerance there. Begin "
            "with noise, or lower the tolerance."
        )
    text = f"The score of {name} rises from {row['before']:.4g} to {row['after']:.4g} at norm {row['norm']:.4g}"
    if row["converged"]:
        return f"{text}."
    return f"{text}; the ascent has not converged, so more steps would raise it further."


def _figure(images: Sequence[Array], names: Sequence[str]) -> "Figure":
    across = min(5, len(images))
    down = -(-len(images) // across)
    figure = new_figure(max(3, 2.2 * across), 2.5 * down)
    for index, (image, name) in enumerate(zip(images, names)):
        axes = figure.add_subplot(down, across, index + 1)
        picture = planes(image)
        if len(picture) == 3:
            axes.imshow(scaled(picture.transpose(1, 2, 0)), interpolation="nearest")
        else:
            axes.imshow(scaled(picture.mean(axis=0)), cmap="gray", interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    return figure
