"""Where the values of a network lie on a grid over the image, and where its last grid is pooled."""

import copy
import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from .graph import ancestors, callee, dependents, of_kind, reads_shape
from .modules import PASSING, POOLS, Multiply
from .weights import tensors

Shape = tuple[int, ...]
PASSIVE_MODULES = (*PASSING, nn.Flatten, nn.Unflatten)
PASSIVE_CALLS = frozenset({
    "flatten", "view", "reshape", "squeeze", "unsqueeze", "permute", "transpose", "contiguous", "dropout", "getitem",
    "movedim", "swapaxes", "clone", "to", "float", "type_as",
})  # fmt: skip
"""Calls that pass values on as they are, perhaps in another order."""
GATES = (nn.Sigmoid, nn.Hardsigmoid)
LARGE = 1_000_000
"""The values of weights and image from which on shapes are computed without values, which is faster."""
STRETCH = 1.5
"""The axes of a grid may be reduced by different factors up to this ratio, since sizes are rounded."""

PREFIXES = range(9)
"""The numbers of tokens that may stand before those of the image: class, distillation and register tokens."""


@dataclass(frozen=True)
class Neck:
    """The node whose grid a network pools last, or the reason why there is none.

    ``cells`` is then the last grid, if other values are computed from it before they are pooled.
    """

    node: fx.Node | None = None
    reason: str = ""
    cells: fx.Node | None = None


def shapes_of(module: fx.GraphModule, image: Tensor) -> dict[fx.Node, Shape]:
    """The shape of every tensor that a graph computes from one image; raises what the network raises."""
    weights = tensors(module)
    dtype = next((tensor.dtype for tensor in weights if tensor.is_floating_point()), image.dtype)
    image = image.to(dtype)
    shapes: dict[str, Shape] = {}
    if image.numel() + sum(tensor.numel() for tensor in weights) > LARGE:
        # A constant on the processor, for example, does not meet tensors without values.
        with suppress(Exception):
            memo = {id(tensor): tensor.to("meta") for tensor in weights}
            shapes = _shapes(copy.deepcopy(module, memo), image.to("meta"))
    shapes = shapes or _shapes(module, image)
    return {node: shapes[node.name] for node in module.graph.nodes if node.name in shapes}


@torch.no_grad()
def _shapes(module: fx.GraphModule, image: Tensor) -> dict[str, Shape]:
    recorder = _Shapes(module)
    recorder.run(image)
    return recorder.shapes


class _Shapes(fx.Interpreter):
    """Runs a graph once and notes the shape of every tensor."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.shapes: dict[str, Shape] = {}
        self.extra_traceback = False

    def run_node(self, node: fx.Node) -> object:
        """Run a node and note its shape."""
        value = super().run_node(node)
        if isinstance(value, Tensor):
            self.shapes[node.name] = tuple(value.shape)
        return value


def channel_axis(shape: Shape, space: Shape) -> int | None:
    """The axis of channels of values (n, channel, *grid) or (n, *grid, channel) over an image of this space, or None.

    Where only the second has axes that are about equally smaller than those of the image, it is the second.
    """
    if len(shape) != len(space) + 2:
        return None
    first, last = (_factors(space, grid) for grid in (shape[2:], shape[1:-1]))
    if max(last) <= STRETCH * min(last) and max(first) > STRETCH * min(first):
        return len(shape) - 1
    return 1 if min(first) >= 1 / STRETCH else None


def has_grid(shape: Shape, space: Shape) -> bool:
    """Whether values lie on a grid of more than one cell over an image of this space."""
    axis = channel_axis(shape, space)
    return axis is not None and math.prod(shape[1:]) > shape[axis]


def _factors(space: Shape, grid: Shape) -> list[float]:
    return [pixels / cells for pixels, cells in zip(space, grid)]


def on_grid(values: Tensor, space: Shape, cells: Shape = ()) -> Tensor | None:
    """Values of a layer as (n, channel, *space of the layer), for images of this space; None if there is no such grid.

    Tokens (n, token, channel) become the grid of these cells, or else of square patches in rows; the tokens before
    them, such as that of the class (Dosovitskiy et al. 2021), are left out.
    """
    axis = channel_axis(tuple(values.shape), space)
    if axis is not None:
        return values.movedim(axis, 1)
    if values.ndim == 3 and (patches := _patches(values.shape[1], space, cells)):
        tokens = values[:, values.shape[1] - math.prod(patches) :].movedim(2, 1)
        return tokens.reshape(*tokens.shape[:2], *patches)
    return None


def _patches(count: int, space: Shape, cells: Shape) -> Shape | None:
    """The grid that ``count`` tokens, or all but the first few of them, fill; None if none does."""
    if cells and count - math.prod(cells) in PREFIXES:
        return cells
    for prefix in PREFIXES:
        side = (math.prod(space) / (count - prefix)) ** (1 / len(space)) if count > prefix else 0
        patch = round(side)
        grid = tuple(pixels // patch for pixels in space) if patch else ()
        if patch and math.prod(grid) == count - prefix and all(pixels % patch == 0 for pixels in space):
            return grid
    return None


def neck(
    module: fx.GraphModule, output: fx.Node, shapes: Mapping[fx.Node, Shape], excluded: Collection[fx.Node] = ()
) -> Neck:
    """The last grid on the way to an output, before it is pooled; sums, norms and activations are part of it.

    Nodes that are ``excluded`` have the shape of a grid by chance.
    """
    image = next(node for node in module.graph.nodes if node.op == "placeholder")
    space = shapes[image][2:]
    path = ancestors(output)
    nodes = [node for node in module.graph.nodes if node in path and node is not image and node.op != "get_attr"]
    grids = [node for node in nodes if node not in excluded and _is_grid(node, shapes, space)]
    if not grids:
        return Neck(reason="nothing that it computes on the way to the output lies on a grid over the image")
    last = grids[-1]
    after = dependents(last) - {last}
    hidden = {node for node in excluded if node not in shapes}  # attention as one module that returns several tensors
    if later := [node for node in nodes if node in after and _computes_on_tokens(module, node, shapes, hidden)]:
        shape = " × ".join(map(str, shapes.get(later[0], ())[1:])) or "several"
        return Neck(
            reason=f"after {_named(last)} it computes on {shape} values that are no grid, such as {later[0].name!r}",
            cells=last,
        )
    before = ancestors(last)
    others = [node for node in grids if node not in before and _leaves_grid(node, path, set(grids))]
    if others:
        names = f"{_named(others[-1])} and {_named(last)}"
        return Neck(reason=f"it pools several grids that do not depend on each other: {names}")
    return Neck(_before_pooling(module, last, shapes, space))


def gates(module: fx.GraphModule) -> set[fx.Node]:
    """The nodes whose values only weight others: a sigmoid that is read by products alone."""
    return {
        node
        for node in module.graph.nodes
        if of_kind(module, node, GATES)
        and node.users
        and all(of_kind(module, user, (Multiply,)) for user in node.users)
    }


def _is_grid(node: fx.Node, shapes: Mapping[fx.Node, Shape], space: Shape) -> bool:
    shape = shapes.get(node, ())
    return bool(shape) and shape[0] == 1 and has_grid(shape, space)


def is_wide(shape: Shape) -> bool:
    """Whether values have two or more axes besides the batch's."""
    return sum(size > 1 for size in shape[1:]) > 1


def _computes_on_tokens(
    module: fx.GraphModule, node: fx.Node, shapes: Mapping[fx.Node, Shape], hidden: Collection[fx.Node]
) -> bool:
    """Whether a node behind the last grid computes values that are more than one number per channel."""
    return node in hidden or (
        is_wide(shapes.get(node, ())) and not (is_passive(module, node) or of_kind(module, node, POOLS))
    )


def is_passive(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes values on as they are, perhaps in another order."""
    return of_kind(module, node, PASSIVE_MODULES) or callee(node) in PASSIVE_CALLS


def _leaves_grid(node: fx.Node, path: set[fx.Node], grids: set[fx.Node]) -> bool:
    """Whether a reader on the path takes a node's values off the grid."""
    return any(user in path and user not in grids and not reads_shape(user) for user in node.users)


def _before_pooling(module: fx.GraphModule, node: fx.Node, shapes: Mapping[fx.Node, Shape], space: Shape) -> fx.Node:
    """The node whose grid the last poolings read; what only passes values on is passed over too."""
    earlier = node
    while is_passive(module, earlier) or of_kind(module, earlier, POOLS):
        earlier = earlier.all_input_nodes[0]
    return earlier if _is_grid(earlier, shapes, space) else node


def _named(node: fx.Node) -> str:
    return repr(str(node.target) if node.op == "call_module" else node.name)
