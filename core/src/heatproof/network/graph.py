"""Queries on a network's fx graph: what a node calls, which nodes read it, and the graph's inputs and outputs."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ..errors import ModelError
from .modules import ModuleClass
from .tracing import named_outputs

SHAPE_CALLS = frozenset({"size", "dim", "ndimension", "numel"})
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device"})


def module_of(network: nn.Module, node: fx.Node) -> nn.Module | None:
    """The module that a node calls; None for any other node."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def of_kind(network: nn.Module, node: fx.Node, kinds: tuple[ModuleClass, ...]) -> bool:
    """Whether a node calls a module of one of these classes."""
    return isinstance(module_of(network, node), kinds)


def attribute(network: nn.Module, path: str) -> Any:
    """The module, Parameter, buffer or other attribute of a network at a node's target, such as ``stem.weight``."""
    owner, _, leaf = path.rpartition(".")
    return getattr(network.get_submodule(owner), leaf)


def callee(node: fx.Node) -> str:
    """The name of the function, operator or method that a node calls; empty for any other node."""
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target))
    return str(node.target) if node.op == "call_method" else ""


def torch_callee(node: fx.Node) -> str:
    """The name of the method, torch function or Python operator that a node calls; empty for any other node."""
    if node.target is functional.logsigmoid:  # the only function of torch with another __name__
        return "logsigmoid"
    name = callee(node)
    namespaces = (functional, torch, operator)
    if node.op == "call_function" and all(getattr(space, name, None) is not node.target for space in namespaces):
        return ""
    return name


def reads_shape(node: fx.Node) -> bool:
    """Whether a node reads a tensor's shape, dtype or device, not its values."""
    if node.target is getattr:
        return node.args[1] in SHAPE_ATTRIBUTES
    return torch_callee(node) in SHAPE_CALLS


def ancestors(node: fx.Node) -> set[fx.Node]:
    """The nodes whose values a node depends on, and the node itself; shapes alone do not count."""
    return _reached(node, lambda current: current.all_input_nodes)


def dependents(node: fx.Node) -> set[fx.Node]:
    """The nodes whose values depend on a node, and the node itself, without the output; shapes alone do not count."""
    return _reached(node, lambda current: current.users)


def _reached(node: fx.Node, step: Callable[[fx.Node], Iterable[fx.Node]]) -> set[fx.Node]:
    reached: set[fx.Node] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if current not in reached and current.op != "output" and not reads_shape(current):
            reached.add(current)
            pending.extend(step(current))
    return reached


def only_reader(node: fx.Node) -> fx.Node | None:
    """The only node that reads a node's values, not just its shape; None if several nodes do, or none."""
    users = [user for user in node.users if not reads_shape(user)]
    return users[0] if len(users) == 1 else None


def arguments(graph: fx.Graph, images: Tensor, inputs: Mapping[str, Any]) -> list[Any]:
    """The arguments of a graph: the images, then further inputs by name, or their defaults."""
    _, *others = graph.find_nodes(op="placeholder")
    return [images, *(inputs.get(str(node.target), *node.args) for node in others)]  # args hold a default


def image_node(graph: fx.Graph) -> fx.Node:
    """The first input of a network, its images."""
    image: fx.Node = graph.find_nodes(op="placeholder")[0]
    return image


def output_of(graph: fx.Graph, name: str, names: Sequence[str]) -> fx.Node:
    """The node of one output; ``names`` are those of all outputs. Raises ``ModelError`` for any other ``name``."""
    nodes = named_outputs(graph.output_node().args[0], tuple(names))
    if name not in nodes:
        raise ModelError(f"the network has no output {name!r}; it has {', '.join(nodes)}.")
    return cast(fx.Node, nodes[name])
