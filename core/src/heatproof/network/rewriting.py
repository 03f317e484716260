"""Rewrites a traced graph: each call of a module or function becomes a separate module.

Every activation, pooling, convolution, normalisation, addition, product, mean and concatenation becomes a module that
is called once, works out of place and shares its Parameters with the network.
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
from .modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS, MAX_POOLS, POOLS, Add, Concatenate, Mean, Multiply
from .rectifiers import as_relu, spelt
from .tracing import numbered

FUNCTIONS: Mapping[str, type[nn.Module]] = {
    kind.__name__.lower(): kind for kind in (*ACTIVATIONS, *POOLS, Mean) if kind is not nn.PReLU
}
"""Function or method of torch, without underscores → the equivalent module, with parameters of the same names."""

MAX_POOL_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
"""The arguments of torch's max_pool functions after the input; the modules take them in another order."""

WEIGHTED = ("weight", "bias", "stride", "padding", "dilation", "groups")
NORMALISED = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
PARAMETRIC: Mapping[str, tuple[str, ...]] = {
    "conv1d": WEIGHTED, "conv2d": WEIGHTED, "conv3d": WEIGHTED, "linear": WEIGHTED[:2], "batch_norm": NORMALISED,
    "prelu": WEIGHTED[:1],
}  # fmt: skip
"""Functions of torch that take Parameters, and the names of their arguments after the input."""

JOINING: Mapping[str, type[nn.Module]] = {
    "add": Add, "iadd": Add, "mul": Multiply, "imul": Multiply, "multiply": Multiply,
    "cat": Concatenate, "concat": Concatenate, "concatenate": Concatenate,
}  # fmt: skip
"""Function, operator or method that joins several tensors to one → the equivalent module."""

AS_MODULE = "_as_module"
"""The end of the path of a module that replaces a function."""

DROPPED = ("input", "inplace", "training")
NUMPY = {"axis": "dim", "keepdims": "keepdim"}
"""Names of arguments that torch takes as numpy does → its usual names."""


def own_modules(network: nn.Module, graph: fx.Graph) -> dict[str, nn.Module]:
    """Rewrite a traced graph to one module per call; returns the modules by name."""
    modules: dict[str, nn.Module] = {}
    calls: Counter[str] = Counter()
    numbers = _numbers(graph)
    for node in list(graph.nodes):
        _not_in_place(node)
        _not_by_memory(node)
        if node.op != "call_module" and not numbers.isdisjoint({node, *node.all_input_nodes}):
            continue
        rectifier = spelt(node, network)
        name = f"{node.name}{AS_MODULE}"
        if rectifier is None:
            name, module = _module(node, network)
        else:
            source, module = rectifier
        if module is not None:
            calls[name] += 1
            path = numbered(name, calls[name])
            modules[path] = as_relu(module)
            node.args, node.kwargs = _tensor_arguments(node)
            if rectifier is not None:
                node.args = (source,)
            node.op = "call_module"
            node.target = path
    for node in reversed(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    return modules


def _numbers(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that compute with shapes, and so give numbers, not tensors."""
    numbers: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if reads_shape(node) or (inputs and numbers.issuperset(inputs)):
            numbers.add(node)
    return numbers


def _tensor_arguments(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the module that replaces a call: the same for a module, only the tensors for a function."""
    if node.op == "call_module":
        return node.args, node.kwargs
    if torch_callee(node) in JOINING:
        return _joined(node), {}
    return (_source(node),), {}


def _joined(node: fx.Node) -> tuple[Any, ...]:
    """The tensors that a node joins to one."""
    first = node.args[0] if node.args else node.kwargs.get("tensors", ())
    if isinstance(first, Iterable):
        return tuple(first)
    if "other" in node.kwargs:
        return (*node.args, node.kwargs["other"])
    return node.args


def _module(node: fx.Node, network: nn.Module) -> tuple[str, nn.Module | None]:
    """A name, and the module that is equivalent to a node; None where there is no such module."""
    if node.op == "call_module":
        return str(node.target), _copy(network.get_submodule(str(node.target)))
    called = torch_callee(node)
    if called in PARAMETRIC:
        return _with_parameters(node, called, network)
    if called in JOINING:
        return f"{node.name}{AS_MODULE}", _joining(node, called)
    kind = FUNCTIONS.get(called.replace("_", ""))
    return f"{node.name}{AS_MODULE}", _from_settings(node, kind)


def _source(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs["input"]


def _from_settings(node: fx.Node, kind: type[nn.Module] | None) -> nn.Module | None:
    """A module of this class with a call's settings; None without a class, or if it does not have these settings.

    Also None if the network computes a setting.
    """
    if kind is None or node.all_input_nodes != [_source(node)]:
        return None
    accepted = signature(kind).parameters
    names = MAX_POOL_ARGUMENTS if kind in MAX_POOLS else accepted
    settings = dict(zip(names, node.args[1:])) | {NUMPY.get(name, name): value for name, value in node.kwargs.items()}
    settings = {name: value for name, value in settings.items() if name not in DROPPED}
    return kind(**settings) if settings.keys() <= accepted.keys() else None


def _joining(node: fx.Node, called: str) -> nn.Module | None:
    """A module that joins several tensors to one; None if a number or a Parameter is among them."""
    parts = _joined(node)
    if not parts or not all(isinstance(part, fx.Node) and part.op != "get_attr" for part in parts):
        return None
    if JOINING[called] is not Concatenate:
        return JOINING[called]() if set(node.kwargs) <= {"input", "other"} else None
    settings = dict(zip(("tensors", "dim"), node.args)) | node.kwargs
    dim: Any = settings.get("dim", settings.get("axis", 0))
    return Concatenate(dim)


def _with_parameters(node: fx.Node, called: str, network: nn.Module) -> tuple[str, nn.Module | None]:
    """A module with the Parameters that a function is called with, under the name of the module that owns them."""
    arguments = dict(zip(PARAMETRIC[called], node.args[1:])) | node.kwargs
    arguments.pop("input", None)
    nodes = {name: value for name, value in arguments.items() if isinstance(value, fx.Node)}
    settings = {name: value for name, value in arguments.items() if name not in nodes and value is not None}
    if {value.op for value in nodes.values()} != {"get_attr"}:
        return "", None
    paths = {name: str(value.target) for name, value in nodes.items()}
    owner = next(iter(paths.values())).rpartition(".")[0]
    tensors = {name: attribute(network, path) for name, path in paths.items()}
    if called == "batch_norm":
        return f"{node.name}{AS_MODULE}", _batch_norm(network.get_submodule(owner), tensors, settings)
    name = f"{node.name}{AS_MODULE}" if called == "prelu" else owner
    return name or f"{node.name}{AS_MODULE}", _weighted(called, tensors, settings)


def _weighted(called: str, tensors: Mapping[str, Any], settings: Mapping[str, Any]) -> nn.Module | None:
    """A convolution, linear layer or PReLU with these Parameters."""
    weight = tensors.get("weight")
    bias = tensors.get("bias")
    if not isinstance(weight, nn.Parameter):
        return None
    if called == "prelu":
        rectifier = nn.PReLU(weight.numel(), device="meta")
        rectifier._parameters.update(weight=weight)
        return rectifier
    widths = [weight.shape[1] * settings.get("groups", 1), weight.shape[0]]
    module: nn.Module
    if called == "linear":
        module = nn.Linear(widths[0], widths[1], bias=bias is not None, device="meta")
    else:
        kind: Any = CONVOLUTIONS[weight.ndim - 3]
        module = kind(*widths, tuple(weight.shape[2:]), bias=bias is not None, device="meta", **settings)
    module._parameters.update(weight=weight, bias=bias)
    return module


def _batch_norm(owner: nn.Module, tensors: Mapping[str, Any], settings: Mapping[str, Any]) -> nn.Module | None:
    """A BatchNorm of its owner's class with these Parameters and statistics; None if it uses those of the batch."""
    kind = next((kind for kind in BATCH_NORMS if isinstance(owner, kind)), None)
    if kind is None or settings.get("training") or "running_mean" not in tensors:
        return None
    numbers = {name: settings[name] for name in ("momentum", "eps") if name in settings}
    module = kind(len(tensors["running_mean"]), affine="weight" in tensors, device="meta", **numbers)
    module._parameters.update(weight=tensors.get("weight"), bias=tensors.get("bias"))
    statistics = {name: tensors[name] for name in ("running_mean", "running_var")}
    module._buffers.update(**statistics, num_batches_tracked=None)
    return module


def _not_in_place(node: fx.Node) -> None:
    """Replace an in-place call by its out-of-place form, which does not overwrite an observed activation."""
    name = torch_callee(node)
    plain = name.removesuffix("_")
    if name.endswith("_") and not name.endswith("__"):
        if node.op == "call_method" and hasattr(Tensor, plain):
            node.target = plain
        elif node.op == "call_function":
            node.target = getattr(functional, plain, getattr(torch, plain, node.target))
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}


def _not_by_memory(node: fx.Node) -> None:
    """Replace ``view``, which fails on values in channels_last memory, by ``reshape``; the view as a dtype stays."""
    if node.op == "call_method" and node.target == "view" and not isinstance(node.args[1], torch.dtype):
        node.target = "reshape"


def _copy(module: nn.Module) -> nn.Module:
    """A copy of a module that shares its Parameters, has no hooks and works out of place."""
    clone = copy.copy(module)
    clone._parameters = dict(module._parameters)
    clone._buffers = dict(module._buffers)
    clone._modules = {name: _copy(child) for name, child in module._modules.items() if child is not None}
    clone.__dict__.update({name: value for name, value in vars(nn.Module()).items() if "_hooks" in name})
    clone.__dict__.pop("forward", None)  # a forward patched on the instance belongs to the user's module
    if getattr(clone, "inplace", False):
        clone.inplace = False  # type: ignore[assignment]
    return clone
