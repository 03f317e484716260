"""The outline of a network: its layers by the names of its modules, and its activations."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn

from .canonical import canonical, reason_of
from .equivalence import converted
from .graph import ancestors, of_kind, only_reader
from .grids import PASSIVE_MODULES, Neck, Shape, channel_axis, gates, has_grid, is_wide, neck, shapes_of
from .modules import ACTIVATIONS, CONVOLUTIONS, PASSING, POOLS
from .opaque import Recorder
from .rewriting import AS_MODULE
from .tokens import Tokens, attentions, blocks, inside, last_tokens, token_nodes
from .tracing import OBSERVED, explained, named_outputs, optional


@dataclass(frozen=True)
class Outline:
    """A network's convolutions by name and its classes of activation, in order of evaluation.

    ``layers`` are all names with an observable output, and ``aside`` those of them that the explained output does not
    depend on. ``grids`` are the convolutions and the blocks with attention on the way to an output whose values lie on
    a grid over the image, or are its tokens, without gates. ``last`` is the layer with the grid that is pooled, or
    empty for the reason ``unpooled``. ``tokens`` are those of a transformer, and ``attentions`` the shape (window,
    head, query, key) of the weights of each attention by layer, for one image; it is empty if they are not observable.
    ``module`` is the canonical network, and ``reason`` says why a network cannot be
    traced. ``example`` is an image that the network takes, and ``per_pixel`` whether its explained output has logits on
    a grid over the image, (n, class, *grid), if they are known.
    """

    convolutions: tuple[str, ...] = ()
    activations: tuple[type[nn.Module], ...] = ()
    reason: str = ""
    module: fx.GraphModule | None = None
    layers: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    grids: tuple[str, ...] = ()
    last: str = ""
    unpooled: str = "the size of its images is unknown, so set the model's size"
    example: Tensor | None = None
    per_pixel: bool | None = None
    tokens: Tokens | None = None
    attentions: Mapping[str, Shape] = field(default_factory=dict)

    def cells(self, space: Shape) -> Shape:
        """The grid of the tokens of an image of this space; empty if there is none, or only one for another space."""
        if self.tokens is None or self.example is None or tuple(self.example.shape[2:]) != space:
            return ()
        return self.tokens.grid


def outline(
    network: nn.Module, outputs: tuple[str, ...] = ("logits",), examples: Iterable[Tensor] = (), extended: bool = False
) -> Outline:
    """The outline of a network; ``examples`` are images (1, c, *space) of which it takes one.

    An ``extended`` network gets its further inputs in a run; others have their defaults.
    """
    try:
        module = canonical(network, () if extended else optional(network))
    except Exception as error:
        return observed(network, outputs, examples, reason_of(error))
    convolutions = [node for node in module.graph.nodes if of_kind(module, node, CONVOLUTIONS)]
    activations = [node for node in module.graph.nodes if of_kind(module, node, ACTIVATIONS)]
    names = tuple(str(node.target) for node in convolutions)
    plain = Outline(
        names, tuple(type(module.get_submodule(str(node.target))) for node in activations), module=module,
        layers=frozenset(layers_of(module)), aside=_aside(module, outputs), grids=names,
    )  # fmt: skip
    for image in examples:
        try:
            shapes = shapes_of(module, image)
        except Exception:
            continue  # another network takes such images
        return _with_grids(plain, module, outputs, image, shapes)
    return plain


def layers_of(module: fx.GraphModule) -> dict[str, str]:
    """The name of the node that holds the output of each module, by module name; see ``_nodes``."""
    return {name: node.name for name, node in _nodes(module).items()}


def _nodes(module: fx.GraphModule) -> dict[str, fx.Node]:
    """The node that holds the output of each module, by module name; for a convolution, the end of its chain.

    A value that is no module's output has the name of its node.
    """
    layers = {name: node for node in module.graph.nodes for name in node.meta.get(OBSERVED, ())}
    calls = [node for node in module.graph.nodes if node.op.startswith("call") and not node.meta.get(OBSERVED)]
    unnamed = [node for node in calls if node.op != "call_module" or str(node.target).endswith(AS_MODULE)]
    return {**{node.name: node for node in unnamed}, **layers}


def _aside(module: fx.GraphModule, outputs: tuple[str, ...]) -> frozenset[str]:
    """The layers that the explained output does not depend on; none of a network without that output."""
    nodes = named_outputs(module.graph.output_node().args[0], outputs)
    output = nodes[explained(nodes)]
    if not isinstance(output, fx.Node):
        return frozenset()
    needed = ancestors(output)
    return frozenset(name for name, node in _nodes(module).items() if node not in needed)


def observed(network: nn.Module, outputs: tuple[str, ...], examples: Iterable[Tensor], reason: str) -> Outline:
    """The outline of a network that is not traced for a ``reason``: the modules that hooks observe."""
    for image in examples:
        try:
            network = converted(network, image.dtype)
            with torch.enable_grad(), Recorder(network) as recorder:
                result = named_outputs(network(image.clone().requires_grad_().clone()), outputs)
        except Exception:
            continue
        values = {name: value for name, value in recorder.observed.items() if _depends(value)}
        path = {name: values[name] for name in _on_path(values, result)}
        names = [name for name, value in path.items() if has_grid(tuple(value.shape), _space(image))]
        kinds = recorder.modules
        convolutions = tuple(name for name in values if isinstance(kinds[name], CONVOLUTIONS))
        grids = tuple(name for name in convolutions if name in names)
        last, unpooled = _last_observed(path, names, kinds)
        logits = result[explained(result)]
        per_pixel = _is_per_pixel(tuple(logits.shape) if isinstance(logits, Tensor) else (), image)
        if per_pixel:
            last = ""
            unpooled = _nothing_pooled({name: tuple(values[name].shape) for name in grids}, image)
        return Outline(
            convolutions, (), reason, None, frozenset(values), frozenset(values.keys() - path.keys()), grids, last,
            unpooled, image, per_pixel,
        )  # fmt: skip
    return Outline(reason=reason, layers=frozenset(name for name, _ in network.named_modules() if name))


def _space(image: Tensor) -> Shape:
    return tuple(image.shape[2:])


def _is_per_pixel(shape: Shape, image: Tensor) -> bool:
    """Whether an output has logits (n, class, *grid) on more than one cell."""
    return len(shape) == image.ndim and math.prod(shape[2:]) > 1


def _nothing_pooled(grids: dict[str, Shape], image: Tensor) -> str:
    """Why a network with logits per pixel has no last layer, with the name of the last one of its coarsest grid."""
    reason = "it gives logits per pixel and pools no grid"
    cells: dict[str, int] = {}
    for name, shape in grids.items():
        axis = channel_axis(shape, _space(image))
        cells[name] = math.prod(shape) // shape[axis or 1]
    coarsest = [name for name, count in cells.items() if count == min(cells.values())]
    return f"{reason} (its coarsest one is that of {coarsest[-1]!r})" if coarsest else reason


def _depends(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.requires_grad


def _on_path(values: dict[str, Tensor], outputs: dict[str, Tensor]) -> list[str]:
    """The names of the values that the explained output depends on."""
    output = outputs[explained(outputs)]
    if not values or not _depends(output):
        return []
    gradients = torch.autograd.grad(output.sum(), list(values.values()), allow_unused=True)
    return [name for name, gradient in zip(values, gradients) if gradient is not None]


def _last_observed(values: dict[str, Tensor], names: list[str], kinds: dict[str, nn.Module]) -> tuple[str, str]:
    """The last module whose values on a grid are pooled, and why there is none; no tokens may be computed after it."""
    passive = (*PASSIVE_MODULES, *POOLS)
    passed = [values[name] for name in names if isinstance(kinds[name], passive)]
    computed = [name for name in names if not any(_equal(values[name], value) for value in passed)]
    if not computed:
        return "", "no module of it gives values on a grid over the image that the output depends on"
    last = computed[-1]
    order = list(values)
    for name in order[order.index(last) + 1 :]:
        if is_wide(tuple(values[name].shape)) and name not in names and not isinstance(kinds[name], passive):
            return "", f"after {last!r} it computes on values that are no grid, such as those of {name!r}"
    return last, ""


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def _with_grids(
    plain: Outline, module: fx.GraphModule, outputs: tuple[str, ...], image: Tensor, shapes: dict[fx.Node, Shape]
) -> Outline:
    """An outline with what the shapes of an example tell: the convolutions on a grid, and the last grid."""
    space = _space(image)
    explained_nodes = _explained(module, outputs, shapes)
    path = {node for output in explained_nodes for node in ancestors(output)}
    attended = attentions(module, path, shapes)
    pooled = Neck(reason="it has no output (n, class)")
    tokens: Tokens | None = None
    if explained_nodes:
        pooled = neck(module, explained_nodes[0], shapes, inside(module, attended))
        tokens, pooled = _on_tokens(module, explained_nodes[0], path, shapes, pooled)
    grids = _on_grids(plain, module, path, shapes, attended, space, tokens)
    names = {node: name for name, node in _nodes(module).items()}
    plain = replace(
        plain,
        grids=tuple(grids),
        example=image,
        tokens=tokens,
        attentions={names[node]: shape for node, shape in attended.items()},
    )
    if explained_nodes and _is_per_pixel(shapes.get(explained_nodes[0], ()), image):
        convolutions = {name: shapes[node] for name, node in grids.items() if name in plain.convolutions}
        return replace(plain, unpooled=_nothing_pooled(convolutions, image), per_pixel=True)
    last = "" if pooled.node is None else _name_of(module, pooled.node, plain.convolutions)
    return replace(plain, last=last, unpooled=pooled.reason, per_pixel=False)


def _on_tokens(
    module: fx.GraphModule, output: fx.Node, path: set[fx.Node], shapes: dict[fx.Node, Shape], pooled: Neck
) -> tuple[Tokens | None, Neck]:
    """The tokens behind the last grid, and what is pooled of them; the same neck if there are none."""
    cells = pooled.cells
    if cells is None:
        return None, pooled
    image = next(node for node in module.graph.nodes if node.op == "placeholder")
    axis = channel_axis(shapes[cells], shapes[image][2:])
    assert axis is not None
    try:
        result = last_tokens(module, cells, axis, output, path, shapes)
    except Exception:  # a network can raise anything for values that it does not compute itself
        return None, pooled
    return (None, pooled) if result is None else (result[0], Neck(result[1]))


def _on_grids(
    plain: Outline, module: fx.GraphModule, path: set[fx.Node], shapes: dict[fx.Node, Shape],
    attended: Iterable[fx.Node], space: Shape, tokens: Tokens | None,
) -> dict[str, fx.Node]:  # fmt: skip
    """The convolutions and the blocks with attention whose values lie on a grid or are its tokens, in order."""
    gridded = {node for node, shape in shapes.items() if has_grid(shape, space)}
    ends = {name: node for node in module.graph.nodes for name in node.meta.get(OBSERVED, ())}
    convolutions = {name: ends[name] for name in plain.convolutions if ends[name] in (path & gridded) - gates(module)}
    if tokens is not None:
        gridded |= {*token_nodes(module.graph.nodes, tokens.grid, shapes)}
    order = {node: position for position, node in enumerate(module.graph.nodes)}
    layers = convolutions | blocks(module, attended, gridded & path)
    return dict(sorted(layers.items(), key=lambda item: order[item[1]]))


def _explained(module: fx.GraphModule, outputs: tuple[str, ...], shapes: dict[fx.Node, Shape]) -> list[fx.Node]:
    """The nodes of the outputs (n, class), the explained one first."""
    nodes = named_outputs(module.graph.output_node().args[0], outputs)
    first = nodes.pop(explained(nodes))
    others = [node for node in nodes.values() if isinstance(node, fx.Node) and len(shapes.get(node, ())) == 2]
    return [first, *others] if isinstance(first, fx.Node) else others


def _name_of(module: fx.GraphModule, node: fx.Node, convolutions: tuple[str, ...]) -> str:
    """The name of a layer: of a convolution at the end of whose chain it is, else of the outermost module.

    A value that no module returns, such as that of a function in a module that ends by an identity, has the name of
    what passes it on unchanged.
    """
    names = list(node.meta.get(OBSERVED, ()))
    reader = only_reader(node)
    passed_on = not names
    while passed_on and reader is not None and of_kind(module, reader, PASSING):
        names += reader.meta.get(OBSERVED, ())
        reader = only_reader(reader)
    return next((name for name in names if name in convolutions), next(reversed(names), node.name))
