"""Recognises a ReLU or a clamp that a network spells by other operations, such as ``torch.where(x > 0, x, 0)``."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from .graph import attribute, torch_callee
from .modules import Clamp, Rectifier

BOUNDED = ("input", "min", "max")
PAIRED = ("input", "other")
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "clamp": BOUNDED, "clip": BOUNDED, "clamp_min": BOUNDED[:2], "clamp_max": ("input", "max"), "maximum": PAIRED,
    "max": PAIRED, "fmax": PAIRED, "mul": PAIRED, "imul": PAIRED, "multiply": PAIRED, "gt": PAIRED, "greater": PAIRED,
    "ge": PAIRED, "greater_equal": PAIRED, "lt": PAIRED, "less": PAIRED, "le": PAIRED, "less_equal": PAIRED,
    "masked_fill": ("input", "mask", "value"), "where": ("condition", "input", "other"),
}  # fmt: skip
"""Function, operator or method → the names of its arguments, in the order of the function."""
ABOVE = {"gt": False, "greater": False, "ge": True, "greater_equal": True}
"""Comparisons that are true above a bound → whether they are true at the bound itself."""
BELOW = {"lt": False, "less": False, "le": True, "less_equal": True}
CASTS = ("detach", "float", "double", "half", "bfloat16", "to", "type", "type_as", "int", "long", "bool")
"""Methods that turn a comparison into numbers, or detach it."""
NEGATIONS = ("logical_not", "bitwise_not", "invert", "inv")
ZEROS = ("zeros_like", "new_zeros", "zeros")
CONSTANT = "_tensor_constant"
"""The start of the name that fx gives to a tensor which the forward creates."""


def spelt(node: fx.Node, network: nn.Module) -> tuple[fx.Node, nn.Module] | None:
    """The input of a ReLU or clamp that a node computes, and its module; None for any other node."""
    called = torch_callee(node)
    rule = SPELLINGS.get(called)
    if rule is None:
        return None
    source, module = rule(_arguments(node, called), network)
    if not isinstance(source, fx.Node) or module is None:
        return None
    return source, module


def as_relu(module: nn.Module) -> nn.Module:
    """The module itself, or a ReLU where its settings make it one."""
    settings: Any = module
    is_relu = (
        (isinstance(module, nn.Threshold) and (settings.threshold, settings.value) == (0, 0))
        or (isinstance(module, nn.LeakyReLU) and settings.negative_slope == 0)
        or (type(module) is nn.Hardtanh and (settings.min_val, settings.max_val) == (0, float("inf")))
    )
    return nn.ReLU() if is_relu else module


def _arguments(node: fx.Node, called: str) -> dict[str, Any]:
    """The arguments of a call by the names in ``ARGUMENTS``."""
    names = ARGUMENTS[called]
    if called == "where" and node.op == "call_method":
        names = ("input", "condition", "other")
    return dict(zip(names, node.args)) | dict(node.kwargs)


def _bounded(arguments: Mapping[str, Any], network: nn.Module) -> tuple[Any, nn.Module | None]:
    low = arguments.get("min")
    high = arguments.get("max")
    if high is None and _is_zero(low, network):
        return arguments.get("input"), Rectifier("maximum" if isinstance(low, fx.Node) else "clamp")
    if all(bound is None or isinstance(bound, (int, float)) for bound in (low, high)):
        return arguments.get("input"), Clamp(low, high)
    return None, None


def _maximum(arguments: Mapping[str, Any], network: nn.Module) -> tuple[Any, nn.Module | None]:
    pair = [arguments.get(name) for name in PAIRED]
    others = [value for value in pair if not _is_zero(value, network)]
    # A number as second argument of max is a dimension.
    if len(others) == 1 and all(isinstance(value, fx.Node) for value in pair):
        return others[0], Rectifier("maximum")
    return None, None


def _masked(arguments: Mapping[str, Any], network: nn.Module) -> tuple[Any, nn.Module | None]:
    """A product of a tensor and the mask of its positive values."""
    first, second = (arguments.get(name) for name in PAIRED)
    for values, mask in ((first, second), (second, first)):
        keeps_zero = _keeps_zero(mask, values, network)
        if keeps_zero is not None:
            return _rectifier(values, keeps_zero)
    return None, None


def _where(arguments: Mapping[str, Any], network: nn.Module) -> tuple[Any, nn.Module | None]:
    first, second = (arguments.get(name) for name in PAIRED)
    if _is_zero(second, network):
        return _rectifier(first, _keeps_zero(arguments.get("condition"), first, network))
    if _is_zero(first, network):
        return _rectifier(second, _keeps_zero(arguments.get("condition"), second, network, inverted=True))
    return None, None


def _masked_fill(arguments: Mapping[str, Any], network: nn.Module) -> tuple[Any, nn.Module | None]:
    values = arguments.get("input")
    if not _is_zero(arguments.get("value"), network):
        return None, None
    return _rectifier(values, _keeps_zero(arguments.get("mask"), values, network, inverted=True))


def _rectifier(values: Any, keeps_zero: bool | None) -> tuple[Any, nn.Module | None]:
    """A ReLU of ``values`` by a mask; None if the mask is no such mask."""
    if keeps_zero is None:
        return None, None
    return values, Rectifier("where") if keeps_zero else nn.ReLU()


SPELLINGS: Mapping[str, Any] = {
    "clamp": _bounded, "clip": _bounded, "clamp_min": _bounded, "clamp_max": _bounded, "maximum": _maximum,
    "max": _maximum, "fmax": _maximum, "mul": _masked, "imul": _masked, "multiply": _masked, "where": _where,
    "masked_fill": _masked_fill,
}  # fmt: skip
"""Function, operator or method → the rule that recognises a ReLU or a clamp in its arguments."""


def _keeps_zero(mask: Any, values: Any, network: nn.Module, inverted: bool = False) -> bool | None:
    """Whether a mask of the positive ``values`` keeps those that are 0 as well; None if the mask is another.

    An ``inverted`` mask is that of the values that become 0.
    """
    while isinstance(mask, fx.Node) and torch_callee(mask) in (*CASTS, *NEGATIONS):
        inverted ^= torch_callee(mask) in NEGATIONS
        mask = mask.args[0]
    called = torch_callee(mask) if isinstance(mask, fx.Node) else ""
    if called not in ABOVE and called not in BELOW:
        return None
    first, second = (_arguments(mask, called).get(name) for name in PAIRED)
    above = called in ABOVE
    if second is values and _is_zero(first, network):
        above = not above
    elif first is not values or not _is_zero(second, network):
        return None
    if above == inverted:
        return None
    at_zero = (ABOVE | BELOW)[called]
    return at_zero != inverted


def _is_zero(value: Any, network: nn.Module) -> bool:
    """Whether a value is the number 0, or a tensor of zeros that the forward creates."""
    if isinstance(value, (int, float)):
        return value == 0
    if not isinstance(value, fx.Node):
        return False
    if torch_callee(value) in ZEROS:
        return True
    if torch_callee(value) == "full_like":
        return _is_zero(value.args[1] if len(value.args) > 1 else value.kwargs.get("fill_value"), network)
    if value.op != "get_attr" or not str(value.target).startswith(CONSTANT):
        return False
    constant = attribute(network, str(value.target))
    return isinstance(constant, Tensor) and not bool(torch.count_nonzero(constant))
