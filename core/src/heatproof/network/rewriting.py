"""Makes each call in a traced network a module of its own.

What fx traces of a network are calls of modules, perhaps several of one, and of functions. Afterwards every activation,
pooling, convolution, normalisation, addition, product, mean and concatenation is a module that is called once, works
out of place and shares its Parameters.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from .graph import attribute, reads_shape, torch_callee
from .modules import (
    ACTIVATIONS,
    BATCH_NORMS,
    CONVOLUTIONS,
    MAX_POOLS,
    POOLS,
    Add,
    Concatenate,
    Mean,
    ModuleClass,
    Multiply,
)
from .tracing import numbered

FUNCTIONS: Mapping[str, ModuleClass] = {
    kind.__name__.lower(): kind for kind in (*ACTIVATIONS, *POOLS, Mean) if kind is not nn.PReLU
}
"""Function or method of torch without underscores → the module that does the same by settings of the same names."""

LARGEST = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
"""The arguments of a maximum pool after the input, which as a module takes them in another order."""

WEIGHTED = ("weight", "bias", "stride", "padding", "dilation", "groups")
NORMALISED = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
PARAMETRIC: Mapping[str, tuple[str, ...]] = {
    "conv1d": WEIGHTED, "conv2d": WEIGHTED, "conv3d": WEIGHTED, "linear": WEIGHTED[:2], "batch_norm": NORMALISED,
}  # fmt: skip
"""Functions of torch that are given Parameters, and the names of their arguments after the input."""

JOINING: Mapping[str, ModuleClass] = {
    "add": Add, "iadd": Add, "mul": Multiply, "imul": Multiply, "multiply": Multiply,
    "cat": Concatenate, "concat": Concatenate, "concatenate": Concatenate,
}  # fmt: skip
"""Function, operator or method that makes one tensor of several → the module that does the same."""

DROPPED = ("input", "inplace", "training")


def own_modules(network: nn.Module, graph: fx.Graph) -> dict[str, nn.Module]:
    """Rewrite a traced graph so that each call is a module of its own; the modules by name."""
    modules: dict[str, nn.Module] = {}
    calls: Counter[str] = Counter()
    numbers = _numbers(graph)
    for node in list(graph.nodes):
        _not_in_place(node)
        if node.op != "call_module" and not numbers.isdisjoint({node, *node.all_input_nodes}):
            continue
        name, module = _module(node, network)
        if module is not None:
            calls[name] += 1
            own = numbered(name, calls[name])
            modules[own] = module
            node.op, node.target, node.args, node.kwargs = "call_module", own, *_passed(node)
    for node in reversed(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    return modules


def _numbers(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that compute with shapes: what is added there are no tensors."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if reads_shape(node) or (inputs and found.issuperset(inputs)):
            found.add(node)
    return found


def _passed(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a call still passes on once its settings are in a module: all of it for a module, else its tensors."""
    if node.op == "call_module":
        return node.args, node.kwargs
    if torch_callee(node) in JOINING:
        return _joined(node), {}
    return (_source(node),), {}


def _joined(node: fx.Node) -> tuple[Any, ...]:
    """What a node makes one tensor of."""
    first = node.args[0] if node.args else node.kwargs.get("tensors", ())
    if isinstance(first, Iterable):
        return tuple(first)
    return (*node.args, *(node.kwargs[name] for name in ("other",) if name in node.kwargs))


def _module(node: fx.Node, network: nn.Module) -> tuple[str, nn.Module | None]:
    """The module that does what a node does, under its name; None for what has no module."""
    if node.op == "call_module":
        return str(node.target), _copy(network.get_submodule(str(node.target)))
    called = torch_callee(node)
    if called in PARAMETRIC:
        return _with_parameters(node, called, network)
    if called in JOINING:
        return f"{node.name}_as_module", _joining(node, called)
    kind = FUNCTIONS.get(called.replace("_", ""))
    return f"{node.name}_as_module", None if kind is None else _from_settings(node, kind)


def _source(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs["input"]


def _from_settings(node: fx.Node, kind: ModuleClass) -> nn.Module | None:
    """A module with a call's settings; None where they are computed by the network itself."""
    names = LARGEST if kind in MAX_POOLS else signature(kind).parameters
    settings = dict(zip(names, node.args[1:])) | node.kwargs
    settings = {name: value for name, value in settings.items() if name not in DROPPED}
    return kind(**settings) if node.all_input_nodes == [_source(node)] else None


def _joining(node: fx.Node, called: str) -> nn.Module | None:
    """A module for what makes one tensor of several; None where a number, or a Parameter, is among them."""
    parts = _joined(node)
    if not parts or not all(isinstance(part, fx.Node) and part.op != "get_attr" for part in parts):
        return None
    if JOINING[called] is not Concatenate:
        return JOINING[called]() if set(node.kwargs) <= {"input", "other"} else None
    settings = dict(zip(("tensors", "dim"), node.args)) | node.kwargs
    dim: Any = settings.get("dim", settings.get("axis", 0))
    return Concatenate(dim)


def _with_parameters(node: fx.Node, called: str, network: nn.Module) -> tuple[str, nn.Module | None]:
    """A module that holds the Parameters which a function is given, named after the module that they belong to."""
    given = dict(zip(PARAMETRIC[called], node.args[1:])) | {
        name: value for name, value in node.kwargs.items() if name != "input"
    }
    tensors = {name: value for name, value in given.items() if isinstance(value, fx.Node)}
    settings = {name: value for name, value in given.items() if name not in tensors and value is not None}
    if {value.op for value in tensors.values()} != {"get_attr"}:
        return "", None
    owner = next(str(value.target).rpartition(".")[0] for value in tensors.values())
    held = {name: attribute(network, str(value.target)) for name, value in tensors.items()}
    if called == "batch_norm":
        return f"{node.name}_as_module", _batch_norm(network.get_submodule(owner), held, settings)
    return owner or f"{node.name}_as_module", _weighted(called, held, settings)


def _weighted(called: str, held: Mapping[str, Any], settings: Mapping[str, Any]) -> nn.Module | None:
    """A convolution or linear layer around these Parameters."""
    weight, bias = held.get("weight"), held.get("bias")
    if not isinstance(weight, nn.Parameter):
        return None
    widths = [weight.shape[1] * settings.get("groups", 1), weight.shape[0]]
    made: nn.Module
    if called == "linear":
        made = nn.Linear(widths[0], widths[1], bias=bias is not None, device="meta")
    else:
        kind: Any = CONVOLUTIONS[weight.ndim - 3]
        made = kind(*widths, tuple(weight.shape[2:]), bias=bias is not None, device="meta", **settings)
    made._parameters.update(weight=weight, bias=bias)
    return made


def _batch_norm(owner: nn.Module, held: Mapping[str, Any], settings: Mapping[str, Any]) -> nn.Module | None:
    """The BatchNorm of its owner's dimensions around these Parameters and statistics."""
    kind = next((kind for kind in BATCH_NORMS if isinstance(owner, kind)), None)
    if kind is None or settings.get("training") or "running_mean" not in held:
        return None
    numbers = {name: settings[name] for name in ("momentum", "eps") if name in settings}
    made = kind(len(held["running_mean"]), affine="weight" in held, device="meta", **numbers)
    made._parameters.update(weight=held.get("weight"), bias=held.get("bias"))
    made._buffers.update(running_mean=held["running_mean"], running_var=held["running_var"], num_batches_tracked=None)
    return made


def _not_in_place(node: fx.Node) -> None:
    """Let a call give a new tensor, so that an activation that was kept is never overwritten."""
    name = torch_callee(node)
    owners = (Tensor,) if node.op == "call_method" else (functional, torch)
    outside = next((getattr(owner, name[:-1]) for owner in owners if hasattr(owner, name[:-1])), None)
    if name.endswith("_") and not name.endswith("__") and outside is not None:
        node.target = name[:-1] if node.op == "call_method" else outside
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}


def _copy(module: nn.Module) -> nn.Module:
    """The same Parameters in a module of its own, without hooks and not in place."""
    clone = copy.copy(module)
    clone._parameters, clone._buffers = dict(module._parameters), dict(module._buffers)
    clone._modules = {name: _copy(child) for name, child in module._modules.items() if child is not None}
    clone.__dict__.update({name: value for name, value in vars(nn.Module()).items() if "_hooks" in name})
    clone.__dict__.pop("forward", None)  # a forward patched on the instance belongs to the user's module
    if getattr(clone, "inplace", False):
        clone.inplace = False  # type: ignore[assignment]
    return clone
