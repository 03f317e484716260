"""The rules by name: Zennit's, and two that iNNvestigate has besides."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from zennit.core import BasicHook, Hook, Stabilizer, stabilize
from zennit.rules import AlphaBeta, ClampMod, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZBox, ZPlus

from heatproof.errors import near


def z_plus_fast(stabilizer: float = 1e-6) -> Hook:
    """The positive weights applied to the input as it is, without bias: z-plus where no input is negative."""
    stable = Stabilizer.ensure(stabilizer)
    return BasicHook(
        input_modifiers=[lambda values: values],
        param_modifiers=[ClampMod(min=0.0, zero_params="bias")],
        output_modifiers=[lambda output: output],
        gradient_mapper=lambda relevance, outputs: relevance / stable(outputs[0]),
        reducer=lambda inputs, gradients: inputs[0] * gradients[0],
    )


class BatchNormRule(BasicHook):  # type: ignore[misc]
    """BatchNorm y of x as iNNvestigate 1.0.8.3 has it: x (y - beta) R / ((x - mean) y)."""

    EPSILON = 1e-7

    def backward(self, module: Any, grad_input: Any, grad_output: tuple[Tensor, ...]) -> tuple[Tensor]:
        """The relevance of the input."""
        values = self.stored_tensors["input"][0].detach()
        output = module.forward(values)
        axes = (1, -1, *(1,) * (values.ndim - 2))
        beta = torch.zeros_like(module.running_mean) if module.bias is None else module.bias.detach()
        above = values * (output - beta.reshape(axes))
        below = (values - module.running_mean.reshape(axes)) * output
        return (above * grad_output[0] / stabilize(below, self.EPSILON),)


RULES: Mapping[str, Callable[..., Hook]] = {
    "epsilon": Epsilon, "gamma": Gamma, "z_plus": ZPlus, "z_plus_fast": z_plus_fast, "alpha_beta": AlphaBeta,
    "z_box": ZBox, "w_square": WSquare, "flat": Flat, "norm": Norm, "pass": Pass, "batch_norm": BatchNormRule,
}  # fmt: skip
"""Rule by name, as presets and a config's layer map call it."""

UNSET = frozenset({"layer_map", "first_map", "canonizers"})
"""What Zennit's composites take besides settings of rules."""


def settings_of(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The settings that a rule or a composite takes, by name."""
    taken = inspect.signature(maker).parameters.items()
    return {name: entry for name, entry in taken if name not in UNSET and entry.kind is entry.POSITIONAL_OR_KEYWORD}


def require_taken(name: str, settings: Collection[str], taken: Collection[str]) -> None:
    """Raise ``ValueError`` for a setting that does not belong to ``name``."""
    if surplus := sorted(set(settings) - set(taken)):
        raise ValueError(f"{name} has no setting {surplus[0]!r}; {near(surplus[0], taken)}")


def fitted(name: str, maker: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """What ``maker`` makes with these settings; raises ``ValueError`` naming one that it does not take, or lacks."""
    taken = settings_of(maker)
    require_taken(name, settings, taken)
    missing = [key for key, entry in taken.items() if entry.default is entry.empty and key not in settings]
    if missing:
        raise ValueError(f"{name} needs {' and '.join(missing)}")
    return maker(**{key: _bound(value) if key in ("low", "high") else value for key, value in settings.items()})


def _bound(value: float | tuple[float, ...]) -> Tensor:
    """A bound for all channels, or one per channel as (1, channel): the shapes that Zennit expands."""
    bound = torch.tensor(value, dtype=torch.float64)
    return bound[None] if bound.ndim else bound
