"""Transformers: their tokens, which of these are cells of a grid over the image, and their attention.

Tokens are values (n, token, channel). Those of the image come last, in rows; the tokens of class, distillation and
registers stand before them (Dosovitskiy et al. 2021, Touvron et al. 2021, Darcet et al. 2024).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from .graph import ancestors, callee, dependents, of_kind, reads_shape, torch_callee
from .grids import PREFIXES, Shape, is_passive
from .modules import CONVOLUTIONS, PASSING, Add
from .tracing import OBSERVED

PRODUCTS = frozenset({"matmul", "bmm", "einsum", "__matmul__"})
PASSING_CALLS = frozenset({"dropout", "to", "float", "type_as", "contiguous", "clone", "getitem"})
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
HIDDEN = "attention"
"""The end of the name of a function that hides its weights of attention."""


@dataclass(frozen=True)
class Tokens:
    """The tokens that a network computes on last.

    ``grid`` are the cells of the image, ``prefix`` is the number of tokens before them, and ``read`` are the positions
    of the tokens that the output reads behind the last attention; empty if the last attention pools the tokens.
    """

    grid: Shape
    prefix: int
    read: tuple[int, ...]


def attentions(module: fx.GraphModule, path: set[fx.Node], shapes: Mapping[fx.Node, Shape]) -> dict[fx.Node, Shape]:
    """The weights of each attention (window, head, query, key) on a path for one image, as node and shape.

    The shape is empty where the weights are not observable: a fused function, or a module that was not spelled out.
    """
    weights: dict[fx.Node, Shape] = {}
    for node in module.graph.nodes:
        if node in path and _is_softmax(module, node, shapes) and _is_multiplied(module, node):
            weights[node] = shapes[node]
        elif node in path and is_hidden(module, node):
            weights[node] = ()
    return weights


def is_hidden(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is an attention whose weights are not observable."""
    return callee(node).endswith(HIDDEN) or of_kind(module, node, (nn.MultiheadAttention,))


def _is_softmax(module: fx.GraphModule, node: fx.Node, shapes: Mapping[fx.Node, Shape]) -> bool:
    """Whether a node is a softmax over the last of at least three axes."""
    shape = shapes.get(node, ())
    if len(shape) < 3:
        return False
    if of_kind(module, node, (nn.Softmax,)):
        axis: Any = getattr(module.get_submodule(str(node.target)), "dim", None)
    elif torch_callee(node) == "softmax":
        axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    else:
        return False
    return axis in (-1, len(shape) - 1)


def _is_multiplied(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether values go into a product of matrices, perhaps through what passes them on."""
    for user in node.users:
        if torch_callee(user) in PRODUCTS:
            return True
        passes = of_kind(module, user, PASSING) or callee(user) in PASSING_CALLS
        if passes and _is_multiplied(module, user):
            return True
    return False


def inside(module: fx.GraphModule, weights: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes of attention between its linear layers: queries, keys, values, scores, weights and their product.

    Scores of all pairs of tokens have the shape of a grid, but are none.
    """
    nodes: set[fx.Node] = set()
    for node in weights:
        behind = _until_weighted(module, [node], back=False)
        nodes |= behind | _until_weighted(module, [node, *behind], back=True)
    return nodes


def _until_weighted(module: fx.GraphModule, pending: list[fx.Node], back: bool) -> set[fx.Node]:
    """The nodes before or behind others up to the next linear layer, and behind them also up to the next sum."""
    reached: set[fx.Node] = set()
    while pending:
        node = pending.pop()
        ends = _is_weighted(module, node) or reads_shape(node) or (not back and of_kind(module, node, (Add,)))
        if node not in reached and not ends and node.op.startswith("call"):
            reached.add(node)
            pending.extend(node.all_input_nodes if back else node.users)
    return reached


def _is_weighted(module: fx.GraphModule, node: fx.Node) -> bool:
    return of_kind(module, node, WEIGHTED) or torch_callee(node) == "linear"


def token_nodes(nodes: Iterable[fx.Node], grid: Shape, shapes: Mapping[fx.Node, Shape]) -> list[fx.Node]:
    """The nodes with values (1, token, channel) for the cells of a grid and the few tokens before them."""
    cells = math.prod(grid)
    counts = {cells + prefix for prefix in PREFIXES}
    return [node for node in nodes if len(shapes.get(node, ())) == 3 and shapes[node][0] == 1 and
            shapes[node][1] in counts and shapes[node][2] > 1]  # fmt: skip


def last_tokens(
    module: fx.GraphModule, cells: fx.Node, axis: int, output: fx.Node, path: set[fx.Node],
    shapes: Mapping[fx.Node, Shape],
) -> tuple[Tokens, fx.Node] | None:  # fmt: skip
    """The tokens of a grid, and their last values that all matter for the output; None without such tokens.

    These are what the output pools, or else what the last attention reads: behind it, only the class token goes on.
    ``cells`` is the last node with a grid, and ``axis`` that of its channels.
    """
    grid = tuple(size for position, size in enumerate(shapes[cells]) if position not in (0, axis))
    after = dependents(cells) & path
    computed = (node for node in module.graph.nodes if node in after and not is_passive(module, node))
    nodes = token_nodes(computed, grid, shapes)
    if not nodes:
        return None
    final = nodes[-1]
    first = next(node for node in nodes if shapes[node][1] == shapes[final][1])
    if not are_rows(module, cells, axis, first, shapes):
        return None
    weights = list(attentions(module, path, shapes))
    last = weights[-1] if weights else None
    prefix = shapes[final][1] - math.prod(grid)
    if last is not None and final in ancestors(last):
        node = projected(module, nodes, last)
        return None if node is None else (Tokens(grid, prefix, ()), node)
    read = read_tokens(module, final, output, grid, shapes)
    tokens = Tokens(grid, prefix, read)
    if shapes[final][1] - 1 in read:
        return tokens, final
    node = None if last is None else projected(module, nodes, last)
    return None if node is None else (tokens, node)


def projected(module: fx.GraphModule, tokens: Sequence[fx.Node], weights: fx.Node) -> fx.Node | None:
    """The tokens that the last linear layer before an attention reads: the input of its queries, keys and values."""
    if is_hidden(module, weights):
        source = _computed(module, weights)
        return source if source in tokens else None
    before = ancestors(weights)
    sources = [_computed(module, node) for node in module.graph.nodes if node in before and _is_weighted(module, node)]
    return next((source for source in reversed(sources) if source in tokens), None)


def _computed(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The first input of a node, before what passes it on unchanged."""
    source = node.all_input_nodes[0]
    while is_passive(module, source) and source.all_input_nodes:
        source = source.all_input_nodes[0]
    return source


@torch.no_grad()
def read_tokens(
    module: fx.GraphModule, tokens: fx.Node, output: fx.Node, grid: Shape, shapes: Mapping[fx.Node, Shape]
) -> tuple[int, ...]:
    """The positions of the tokens that an output depends on: those whose NaN it shows, with those of the image as one.

    Unlike a gradient, NaN shows a dependence also through weights that are zero.
    """
    _, count, channels = shapes[tokens]
    prefix = count - math.prod(grid)
    groups = [[position] for position in range(prefix)] + [[*range(prefix, count)]]
    values = torch.zeros(len(groups), count, channels, **_kind(module))
    for row, positions in enumerate(groups):
        values[row, positions] = math.nan
    result = _propagated(module, tokens, values, output, shapes)
    read = result.flatten(1).isnan().any(1).tolist()
    return tuple(position for positions, is_read in zip(groups, read) if is_read for position in positions)


@torch.no_grad()
def are_rows(
    module: fx.GraphModule, cells: fx.Node, axis: int, tokens: fx.Node, shapes: Mapping[fx.Node, Shape]
) -> bool:
    """Whether the first and the last cell of a grid become the first token of the image and the last of all.

    ``axis`` is that of the grid's channels. A NaN in a cell shows in its token alone, before tokens are mixed.
    """
    shape = shapes[cells]
    count = math.prod(shape) // shape[axis]
    values = torch.zeros(2, shape[axis], count, **_kind(module))
    values[0, :, 0] = math.nan
    values[1, :, -1] = math.nan
    space = [size for position, size in enumerate(shape) if position not in (0, axis)]
    grids = values.reshape(2, shape[axis], *space).movedim(1, axis)
    marked = _propagated(module, cells, grids, tokens, shapes).isnan().any(2)
    positions = [row.nonzero().flatten().tolist() for row in marked]
    total = shapes[tokens][1]
    return positions == [[total - count], [total - 1]]


def _kind(module: nn.Module) -> dict[str, Any]:
    """The dtype and device of a network's weights."""
    first = next((item for item in module.parameters() if item.is_floating_point()), torch.empty(0))
    return {"dtype": first.dtype, "device": first.device}


def _propagated(
    module: fx.GraphModule, source: fx.Node, values: Tensor, target: fx.Node, shapes: Mapping[fx.Node, Shape]
) -> Tensor:
    """The value of one node from that of another; all other tensors on the way are zeros, which cost nothing."""
    interpreter = _Part(module, source, values, target, shapes)
    with suppress(_Finished):
        interpreter.run(values)
    return interpreter.result


class _Finished(Exception):
    """The value of the target is known."""


class _Part(fx.Interpreter):
    """Runs the part of a graph between two nodes."""

    def __init__(
        self, module: fx.GraphModule, source: fx.Node, values: Tensor, target: fx.Node, shapes: Mapping[fx.Node, Shape]
    ):
        super().__init__(module)
        self.source = source
        self.values = values
        self.target = target
        self.shapes = shapes
        self.needed = dependents(source) & ancestors(target)
        self.result = values
        self.extra_traceback = False

    def run_node(self, node: fx.Node) -> Any:
        """Run a node of the part; any other tensor is one zero that is expanded."""
        if node is self.source:
            return self.values
        if node not in self.needed and node.op != "get_attr" and node in self.shapes and not reads_shape(node):
            shape = self.shapes[node]
            if shape[:1] == (1,):
                shape = (len(self.values), *shape[1:])
            return self.values.new_zeros(()).expand(shape)
        value = super().run_node(node)
        if node is self.target:
            self.result = value
            raise _Finished
        return value


def blocks(module: fx.GraphModule, weights: Iterable[fx.Node], placed: set[fx.Node]) -> dict[str, fx.Node]:
    """The block of each attention: the smallest module around it that adds its result to something, and its node.

    Only blocks whose values are ``placed``, on a grid or on its tokens.
    """
    ends = {name: node for node in module.graph.nodes for name in node.meta.get(OBSERVED, ())}
    result: dict[str, fx.Node] = {}
    for node in weights:
        after = dependents(node)
        for path in reversed(node.meta.get("nn_module_stack", {})):
            end = ends.get(path)
            if end in placed and end in after and _adds(module, after & ancestors(end)):
                result[path] = end
                break
    return result


def _adds(module: fx.GraphModule, nodes: set[fx.Node]) -> bool:
    """Whether one of the nodes is a sum of two tensors."""
    return any(of_kind(module, node, (Add,)) for node in nodes)
