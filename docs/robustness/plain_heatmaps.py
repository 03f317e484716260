"""Heatmaps computed from a network itself, as plainly as possible, to compare those of the explainers with."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from heatproof.model import Model


def scores(model: Model, images: Tensor) -> Tensor:
    """The scores of the first class for the first image and of the third for the second, from the network itself."""
    logits = model.forward(images.clone())["logits"]
    return torch.stack([logits[0, 0], logits[1, 2]])


def corner(images: Tensor, side: int) -> Tensor:
    """The positions of the first patch among the pixels, counted in rows."""
    axes = [torch.arange(size) < side for size in images.shape[2:]]
    inside = functools.reduce(lambda first, second: first[..., None] & second, axes)
    return inside.flatten().nonzero()[:, 0]


def gradient(model: Model, images: Tensor) -> Tensor:
    """The gradient of the scores by the images, from the network itself."""
    leaf = images.clone().requires_grad_()
    (result,) = torch.autograd.grad(scores(model, leaf).sum(), leaf)
    return result


class Rectified(torch.autograd.Function):
    """ReLU whose backward pass is that of guided backpropagation, or of DeconvNet."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, guided: bool) -> Tensor:
        """The positive part."""
        ctx.guided = guided
        ctx.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """The positive part of the gradient, for guided backpropagation where the value is positive."""
        (values,) = ctx.saved_tensors
        positive = slope.clamp(min=0)
        return positive * (values > 0) if ctx.guided else positive, None


class Rectifying(TorchFunctionMode):
    """Replaces every call of torch's ReLU while it is entered."""

    def __init__(self, guided: bool):
        super().__init__()
        self.guided = guided

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The result of a function of torch."""
        if getattr(func, "__name__", "") in ("relu", "relu_"):
            return Rectified.apply(args[0], self.guided)
        return func(*args, **(kwargs or {}))


def rectified_gradient(model: Model, images: Tensor, guided: bool) -> Tensor:
    """The gradient of the network itself with another backward pass of every ReLU that it calls."""
    leaf = images.clone().requires_grad_()
    with Rectifying(guided):
        total = scores(model, leaf).sum()
    (result,) = torch.autograd.grad(total, leaf)
    return result


def grad_cam(model: Model, module: nn.Module, images: Tensor) -> Tensor:
    """Grad-CAM at a module of the network itself, by a hook; tokens and channels-last values become a grid."""
    outputs: list[Tensor] = []

    def observe(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # a later layer may work in place

    handle = module.register_forward_hook(observe)
    total = scores(model, images.clone().requires_grad_()).sum()
    handle.remove()
    (slope,) = torch.autograd.grad(total, outputs[-1])
    activation, slope = (_on_grid(values.detach()) for values in (outputs[-1], slope))
    weights = slope.mean(tuple(range(2, slope.ndim)), keepdim=True)
    heat = (weights * activation).sum(1, keepdim=True).relu()
    mode = "trilinear" if images.ndim == 5 else "bilinear"
    return functional.interpolate(heat, size=images.shape[2:], mode=mode, align_corners=False)


def _on_grid(values: Tensor) -> Tensor:
    """Values (n, channel, *space), from tokens in a square behind that of the class, or from channels at the end."""
    if values.ndim == 3:
        side = math.isqrt(values.shape[1])
        return values[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-any-return, no-untyped-call]
    if values.ndim == 4 and values.shape[1] == values.shape[2] != values.shape[3]:
        return values.permute(0, 3, 1, 2)
    return values


def gap_of(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest expected value."""
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
