"""The rules by name: those of Zennit, and two that only iNNvestigate has."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from zennit.core import BasicHook, Hook, Stabilizer, stabilize
from zennit.rules import AlphaBeta, ClampMod, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZBox, ZPlus

from heatproof.errors import near


def z_plus_fast(stabilizer: float = 1e-6) -> Hook:
    """The positive weights applied to the unchanged input, without bias; equals z-plus if no input is negative."""
    stable = Stabilizer.ensure(stabilizer)
    return BasicHook(
        input_modifiers=[lambda values: values],
        param_modifiers=[ClampMod(min=0.0, zero_params="bias")],
        output_modifiers=[lambda output: output],
        gradient_mapper=lambda relevance, outputs: relevance / stable(outputs[0]),
        reducer=lambda inputs, gradients: inputs[0] * gradients[0],
    )


class BatchNormRule(BasicHook):  # type: ignore[misc]
    """The rule of iNNvestigate 1.0.8.3 for BatchNorm with input x and output y: x (y - beta) R / ((x - mean) y)."""

    EPSILON = 1e-7

    def backward(self, module: Any, grad_input: Any, grad_output: tuple[Tensor, ...]) -> tuple[Tensor]:
        """The relevance of the input."""
        values = self.stored_tensors["input"][0].detach()
        output = module.forward(values)
        axes = (1, -1, *(1,) * (values.ndim - 2))
        beta = torch.zeros_like(module.running_mean)
        if module.bias is not None:
            beta = module.bias.detach()
        numerator = values * (output - beta.reshape(axes))
        denominator = (values - module.running_mean.reshape(axes)) * output
        return (numerator * grad_output[0] / stabilize(denominator, self.EPSILON),)


RULES: Mapping[str, Callable[..., Hook]] = {
    "epsilon": Epsilon, "gamma": Gamma, "z_plus": ZPlus, "z_plus_fast": z_plus_fast, "alpha_beta": AlphaBeta,
    "z_box": ZBox, "w_square": WSquare, "flat": Flat, "norm": Norm, "pass": Pass, "batch_norm": BatchNormRule,
}  # fmt: skip
"""Name of a rule in presets and in a config's layer map → its factory."""

NO_SETTINGS = frozenset({"layer_map", "first_map", "canonizers"})
"""Arguments of Zennit's composites that are not settings of rules."""


def accepted_settings(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The settings that the factory of a rule or composite accepts, by name."""
    parameters = inspect.signature(factory).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in NO_SETTINGS and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def require_accepted(owner: str, settings: Collection[str], accepted: Collection[str]) -> None:
    """Raise ``ValueError`` for the first setting, in alphabetical order, that ``owner`` does not accept."""
    unknown = sorted(set(settings) - set(accepted))
    if unknown:
        raise ValueError(f"{owner} has no setting {unknown[0]!r}; {near(unknown[0], accepted)}")


def build_rule(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """Build a rule or composite; raises ``ValueError`` for a setting that is not accepted or that is missing."""
    accepted = accepted_settings(factory)
    require_accepted(name, settings, accepted)
    missing = [key for key, entry in accepted.items() if entry.default is entry.empty and key not in settings]
    if missing:
        raise ValueError(f"{name} needs {' and '.join(missing)}")
    arguments = dict(settings)
    for key in {"low", "high"} & arguments.keys():
        arguments[key] = _bound(arguments[key])
    return factory(**arguments)


def _bound(value: float | tuple[float, ...]) -> Tensor:
    """A bound in a shape that Zennit expands: () for all channels, or (1, channel) with one per channel."""
    bound = torch.tensor(value, dtype=torch.float64)
    if bound.ndim == 0:
        return bound
    return bound[None]
