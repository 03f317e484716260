"""The standard shared computations: each runs once per batch, whoever asks first.

Every pass goes over the batch in pieces of ``rows`` samples and keeps no graph, so that its memory is that of one
forward and backward over one piece. Guided backpropagation and DeconvNet therefore take a forward of their own: kept
for them, the forward of the plain gradient would double the memory of all passes that follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from .batch import Batch
from .errors import ModelError
from .keyed import key
from .model import Model
from .records import Explanation, Verdict
from .rectification import RECTIFIED, Cell
from .rectification import ActPolicy as ActPolicy
from .rectification import Rule as Rule

PathRule = Literal["midpoint", "left", "right"]
POSITIONS: Mapping[PathRule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
"""Where in each step of a path its gradient is taken."""


@dataclass(frozen=True)
class Layer:
    """A layer's activations and their gradients, both (n, channel, *space)."""

    activation: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Gradients:
    """The gradient of the target's score by the images (n, c, *space) and by every layer of the batch."""

    images: Tensor
    layers: Mapping[str, Layer]


def logits(batch: Batch) -> Tensor:
    """The explained output (n, class), by one forward pass without gradients."""

    @torch.no_grad()
    def compute() -> Tensor:
        return torch.cat([piece.forward()[0] for piece in batch.pieces()])

    return batch.once("logits", compute)


def gradients(batch: Batch) -> Gradients:
    """One forward and one backward pass give the gradient of the images and of every layer in ``batch.layers``."""

    def compute() -> Gradients:
        parts = [_gradients(piece) for piece in batch.pieces()]
        return parts[0] if len(parts) == 1 else _joined(parts)

    return batch.once("gradients", compute)


def _gradients(batch: Batch) -> Gradients:
    images = _leaf(batch)
    with torch.enable_grad():
        scores, activations = batch.forward(images, batch.layers)
        found = _derived(batch, scores, [images, *activations.values()])
    if not batch.differentiable:
        activations = {name: value.detach() for name, value in activations.items()}
    spatial = batch.model.spatial
    layers = {
        name: Layer(spatial(name, value), spatial(name, gradient))
        for (name, value), gradient in zip(activations.items(), found[1:])
    }
    return Gradients(found[0], layers)


def _leaf(batch: Batch) -> Tensor:
    """The images as what a gradient can be taken by; those of a training loss stay in its graph."""
    if batch.differentiable and batch.images.requires_grad:
        return batch.images
    return batch.images.detach().requires_grad_()


def _derived(batch: Batch, scores: Tensor, asked: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of the targets' scores by what is asked; zero where nothing depends on it."""
    total = batch.pick(scores).sum()
    return torch.autograd.grad(total, asked, create_graph=batch.differentiable, materialize_grads=True)


def _joined(parts: list[Gradients]) -> Gradients:
    layers = {
        name: Layer(
            torch.cat([part.layers[name].activation for part in parts]),
            torch.cat([part.layers[name].gradient for part in parts]),
        )
        for name in parts[0].layers
    }
    return Gradients(torch.cat([part.images for part in parts]), layers)


def rectified(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """The gradient of the images (n, c, *space) under a rule: guided backpropagation or DeconvNet.

    ``act_policy`` says which activations the rule acts on: all of them, or ReLU only. Raises ``ModelError`` where it
    would act on none, since the map would silently be the plain gradient.
    """

    def compute() -> Tensor:
        return torch.cat([_rectified(piece, rule, act_policy) for piece in batch.pieces()])

    return batch.once(("rectified", rule, act_policy), compute)


def _rectified(batch: Batch, rule: Rule, act_policy: ActPolicy) -> Tensor:
    images, cell = _leaf(batch), Cell(act_policy)
    with torch.enable_grad():
        scores, _ = batch.forward(images, cell=cell)
        with cell.under(rule):
            (found,) = _derived(batch, scores, [images])
    if rule != "gradient" and not cell.rectified:
        raise ModelError(f"{rectification(batch.model, act_policy).reason or _unreached(batch)}.")
    return found


def _unreached(batch: Batch) -> str:
    return f"no activation of {batch.model.short} lies between the image and the output {batch.output!r}"


def rectification(model: Model, act_policy: ActPolicy = "all") -> Verdict:
    """Whether rectified gradients are defined on a model: exact where every activation is a ReLU."""
    outline = model.outline
    if outline.reason:
        return Verdict(
            "undefined", f"no activation of {model.short} can be rectified: it cannot be traced ({outline.reason})"
        )
    kinds = {kind.__name__: issubclass(kind, RECTIFIED[act_policy]) for kind in outline.activations}
    others = ", ".join(sorted(kind.__name__ for kind in set(outline.activations) if not issubclass(kind, nn.ReLU)))
    if not any(kinds.values()):
        has = f"its activations are {others}; act_policy: all rectifies them" if others else "it has no activation"
        return Verdict("undefined", f"nothing in {model.short} can be rectified: {has}")
    if not others:
        return Verdict("exact")
    if act_policy == "relu_only":
        return Verdict("approximate", f"{others} of {model.short} keep their plain derivative")
    return Verdict("approximate", f"on {others} of {model.short} the rule is a definition, not a fact")


class Base(Protocol):
    """What noise is put under: an explainer."""

    @property
    def identity(self) -> str:
        """What its maps depend on."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers it asks for."""

    def __call__(self, batch: Batch) -> Explanation:
        """Its maps."""


@dataclass(frozen=True)
class Moments:
    """The mean of maps under noise and their variance over the draws (population), both (n, c or 1, *space)."""

    samples: int
    mean: Tensor
    variance: Tensor

    @property
    def squares(self) -> Tensor:
        """The mean of the squared maps."""
        return self.variance + self.mean.square()

    @property
    def standard_error(self) -> Tensor:
        """The standard error of the mean; NaN for one draw."""
        return (self.variance / (self.samples - 1)).sqrt() if self.samples > 1 else self.mean * float("nan")

    @property
    def relative_error(self) -> Tensor:
        """Per sample (n,) the standard error of the mean map relative to it, both as L2 norms; 0 where both are 0."""
        error = _size(self.standard_error)
        return torch.where(error == 0, 0.0, error / _size(self.mean))


def _size(maps: Tensor) -> Tensor:
    """The L2 norm of each map (n,)."""
    norms: Tensor = torch.linalg.vector_norm(maps.flatten(1), dim=1)
    return norms


def noise_moments(
    batch: Batch, samples: int, sigma: float, *, relative: bool = True, base: Base | None = None
) -> Moments:
    """Mean and variance of a map over ``samples`` noisy copies of each image; of the plain gradient without a base.

    The noise is normal with standard deviation ``sigma``, times the range (max - min) of each image where ``relative``;
    draw k of a sample depends on the batch's seed, its id and k only, so every explainer sees the same copies.
    """

    def compute() -> Moments:
        scale = sigma * (_range(batch.images) if relative else 1.0)
        maps = (_noisy(batch, scale, draw, base) for draw in range(samples))
        mean = next(maps)
        squares = torch.zeros_like(mean)
        for count, values in enumerate(maps, start=2):
            step = values - mean
            mean = mean + step / count
            squares = squares + step * (values - mean)
        return Moments(samples, mean, squares / samples)

    return batch.once(("noise moments", base and base.identity, samples, sigma, relative), compute)


def _range(images: Tensor) -> Tensor:
    """The largest value of each image less its smallest, (n, 1, …, 1)."""
    axes = tuple(range(1, images.ndim))
    return images.amax(axes, keepdim=True) - images.amin(axes, keepdim=True)


def _noisy(batch: Batch, scale: Tensor | float, draw: int, base: Base | None) -> Tensor:
    """The map of one noisy copy of each image; a base that draws itself does so by another seed."""
    images = batch.images + scale * batch.noise(draw)
    if base is None:
        return gradients(batch.at(images, layers=())).images
    made = base(batch.at(images, layers=base.layers(batch.model), seed=key(batch.seed, "noisy", draw)))
    values: Tensor = made.values
    return values


def path_gradients(batch: Batch, steps: int, rule: PathRule = "midpoint", baseline: float = 0.0) -> Tensor:
    """The mean gradient (n, c, *space) at ``steps`` points of the straight path from a constant image to each image.

    ``rule`` says where in its step each point lies; ``baseline`` is the constant, in prepared units.
    """

    def compute() -> Tensor:
        total = torch.zeros_like(start)
        for step in range(steps):
            position = (step + POSITIONS[rule]) / steps
            total = total + gradients(batch.at(torch.lerp(start, batch.images, position), layers=())).images
        return total / steps

    start = torch.full_like(batch.images, baseline)
    return batch.once(("path gradients", steps, rule, baseline), compute)


def constant_scores(batch: Batch, value: float) -> Tensor:
    """The targets' scores (n,) of an image that is ``value`` everywhere; one forward of one image where it can be."""

    def compute() -> Tensor:
        rows = batch if batch.inputs else batch.select([0])
        found = logits(rows.at(torch.full_like(rows.images, value)))
        return batch.pick(found.expand(len(batch), -1))

    return batch.once(("constant scores", value), compute)
