"""Forwards of an image with a window replaced: of each activation only the box that the window changes is computed.

A window changes a box of the image, which a convolution or a pooling widens, an activation keeps, and an addition or
a concatenation unites with others. Windows of one row, which differ in their place along the last axis alone, are
computed together: their boxes are given one size, and then hold more than was changed. From where a box is most of its
map, or a node is of any other kind, whole maps are computed. The outputs are those of the full forward.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, fx, nn

from heatproof.network.graph import module_of, reads_shape
from heatproof.network.modules import MAX_POOLS

from .boxes import Box, Spans, Windows, cut, merged
from .receptive_field import ReceptiveField, pointwise, receptive_fields

DENSE = 0.7
"""Whole maps are computed from where a box takes more than this share of its map."""
Where = tuple[slice, ...]


@dataclass(frozen=True)
class WindowRow:
    """What the windows at one place along all axes but the last change: of some nodes a box, of others the whole map.

    ``joints`` are the nodes whose boxes are put into whole maps; ``dead`` says what nobody reads after a node.
    """

    place: tuple[int, ...]
    boxed: tuple[fx.Node, ...]
    dense: tuple[fx.Node, ...]
    joints: frozenset[fx.Node]
    dead: Mapping[fx.Node, list[fx.Node]]

    def at(self, piece: slice = slice(None)) -> Where:
        """Where a piece of this row lies in the grid of windows."""
        return (*(slice(index, index + 1) for index in self.place), piece)


class WindowEffects:
    """What each window of a grid changes in the nodes that ``wanted`` depends on: the same for all images.

    ``kept`` are the nodes of which the image's own values are read for a window.
    """

    def __init__(self, module: fx.GraphModule, wanted: fx.Node, windows: Windows):
        self.module, self.wanted, self.windows = module, wanted, windows
        self.image, self.nodes = next(iter(module.graph.nodes)), _needed(wanted)
        self.affected = {self.image, wanted}
        self.spans: dict[fx.Node, tuple[Spans, ...]] = {self.image: windows.spans}
        self.fields: dict[fx.Node, tuple[ReceptiveField, ...]] = {}
        self.unpadded: dict[fx.Node, nn.Module] = {}
        for node in self.nodes:
            self._follow(node)
        self.rows = [self._row(place) for place in product(*map(range, windows.shape[:-1]))]
        self.kept = frozenset(self._kept())

    def box(self, node: fx.Node, where: Where) -> Box:
        """The boxes of a node that the windows at these places of the grid change."""
        return Box.around(self.spans[node], where)

    def share(self, node: fx.Node, where: Where) -> float:
        """The share of its map that such a box takes."""
        return math.prod(self.box(node, where).sizes) / math.prod(span.length for span in self.spans[node])

    def read(self, node: fx.Node, where: Where) -> Box:
        """What a node reads of its inputs, padding included, to compute its boxes."""
        box = self.box(node, where)
        return box.read(self.fields[node]) if node in self.fields else box

    def beyond(self, node: fx.Node) -> list[fx.Node]:
        """The inputs that a node reads beyond their own boxes."""
        if node in self.fields:
            return [] if all(reach.own for reach in self.fields[node]) else node.all_input_nodes
        own = self.spans[node]
        return [source for source in node.all_input_nodes if self.spans.get(source, own) != own]

    def _follow(self, node: fx.Node) -> None:
        """Note whether windows change a node and, where that is a box, which."""
        maps = [source for source in node.all_input_nodes if source in self.affected]
        self.affected |= {node} if maps else set()
        if not maps or node is self.wanted or not all(source in self.spans for source in maps):
            return
        module = module_of(self.module, node)
        spans, dimensions = [self.spans[source] for source in maps], len(self.windows.spans)
        if (found := receptive_fields(module, dimensions)) is not None:
            self.fields[node], self.unpadded[node] = found, _unpadded(module)
            self.spans[node] = tuple(span.through(reach) for span, reach in zip(spans[0], found))
        elif pointwise(node, module, maps, dimensions) and len(set(map(_lengths, spans))) == 1:
            self.spans[node] = tuple(Spans.union(axis) for axis in zip(*spans))

    def _row(self, place: tuple[int, ...]) -> WindowRow:
        """The nodes of a row; boxed are those that depend on no dense one and change in less than most of their map."""
        where = WindowRow(place, (), (), frozenset(), {}).at()
        boxed, dense = {self.image: None}, dict[fx.Node, None]()
        for node in self.nodes:
            if node in self.affected and node is not self.image:
                maps = self.affected.intersection(node.all_input_nodes)
                small = node in self.spans and maps <= boxed.keys() and self.share(node, where) <= DENSE
                (boxed if small else dense)[node] = None
        read = {source for node in dense if not reads_shape(node) for source in node.all_input_nodes}
        joints = frozenset(read & boxed.keys())
        return WindowRow(place, tuple(boxed), tuple(dense), joints, _dead(boxed, joints) | _dead(dense))

    def _kept(self) -> Iterable[fx.Node]:
        """What boxes are put into, and what no window changes."""
        yield self.image
        for row in self.rows:
            yield from row.joints
            for node in row.boxed[1:]:
                yield from self.beyond(node)
            for node in (*row.boxed, *row.dense):
                yield from (source for source in node.all_input_nodes if source not in self.affected)


class Changes:
    """One image (1, c, *space) with its own forward, and what changes where a window shows a ``replacement``.

    ``clean`` holds the activations of the image that windows read, ``output`` is its output (1, class).
    """

    def __init__(self, plan: WindowEffects, image: Tensor, replacement: Tensor, inputs: Mapping[str, Any]):
        self.plan, self.image, self.replacement = plan, image, replacement
        self.walk = fx.Interpreter(plan.module)
        self.walk.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so
        self.clean: dict[fx.Node, Any] = {}
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.batched = {plan.image}
        self.output = self._forward(inputs)

    @property
    def bytes(self) -> int:
        """The memory of the activations that are kept, the image included."""
        kept = (value for node, value in self.clean.items() if node in self.batched and isinstance(value, Tensor))
        return sum(value.nbytes for value in kept)

    def boxes(self, row: WindowRow, piece: slice) -> dict[fx.Node, Tensor]:
        """The boxes (window, c, *sizes) of a row's joints, for a piece of its windows."""
        where = row.at(piece)
        values = {self.plan.image: self._shown(where)}
        for node in row.boxed[1:]:
            values[node] = self._box(node, where, values)
            for source in row.dead.get(node, ()):
                values.pop(source, None)
        return values

    def outputs(self, row: WindowRow, piece: slice, boxes: Mapping[fx.Node, Tensor], part: slice) -> Tensor:
        """The outputs (window, class) of a part of a piece, of which these are the boxes."""
        values: dict[fx.Node, Any] = {}
        self.walk.env = values
        for node in row.dense:
            for source in node.all_input_nodes:
                if source not in values:
                    values[source] = self._whole(source, row, piece, boxes, part)
            values[node] = self.walk.run_node(node)
            for source in row.dead.get(node, ()):
                values.pop(source, None)
        output: Tensor = values.pop(self.plan.wanted)
        return output

    def boxes_at_once(self, row: WindowRow, rows: int) -> int:
        """How many windows have boxes no larger than the activations of ``rows`` full forwards, the largest of each."""
        return self._at_once(rows, (self._size(node) * self.plan.share(node, row.at()) for node in row.boxed))

    def outputs_at_once(self, row: WindowRow, rows: int) -> int:
        """How many windows have whole maps no larger than the activations of ``rows`` full forwards."""
        return self._at_once(rows, (self._size(node) for node in (*row.joints, *row.dense)))

    def _at_once(self, rows: int, sizes: Iterable[float]) -> int:
        return max(1, int(rows * max(map(self._size, self.plan.nodes)) / max(sizes)))

    def _size(self, node: fx.Node) -> int:
        return math.prod(self.shapes.get(node, ()))

    def _forward(self, inputs: Mapping[str, Any]) -> Tensor:
        values, dead = dict[fx.Node, Any](), _dead(self.plan.nodes)
        self.walk.env = values
        for node in self.plan.nodes:
            if node.op == "placeholder":
                values[node] = self.image if node is self.plan.image else inputs.get(str(node.target), *node.args)
            else:
                values[node] = self.walk.run_node(node)
            self._note(node, values[node])
            for source in dead.get(node, ()):
                del values[source]
        output: Tensor = values.pop(self.plan.wanted)
        return output

    def _note(self, node: fx.Node, value: Any) -> None:
        """Keep a value if windows read it, its shape, and whether it has a row per image."""
        if node.op == "placeholder" or not self.batched.isdisjoint(node.all_input_nodes):
            self.batched.add(node)
        if isinstance(value, Tensor):
            self.shapes[node] = value.shape
        if node in self.plan.kept:
            self.clean[node] = value

    def _shown(self, where: Where) -> Tensor:
        """The boxes of the image, which show the replacement inside each window."""
        box = self.plan.box(self.plan.image, where)
        inside = box.inside(self.plan.windows.spans, where, self.image.device)
        return torch.where(inside[:, None], cut(self.replacement, box), cut(self.image, box))

    def _box(self, node: fx.Node, where: Where, values: Mapping[fx.Node, Tensor]) -> Any:
        """The boxes of a node, from those of its inputs."""
        unpadded, beyond = self.plan.unpadded.get(node), self.plan.beyond(node)
        fill = -math.inf if isinstance(unpadded, MAX_POOLS) else 0.0

        def given(source: fx.Node) -> Any:
            if source not in values:
                return self.clean[source]
            if source not in beyond:
                return values[source]
            held, wanted = self.plan.box(source, where), self.plan.read(node, where)
            return merged(self.clean[source], values[source], held, wanted, fill)

        arguments = fx.map_arg(node.args, given)
        if unpadded is not None:
            return unpadded(*arguments)
        return getattr(self.walk, node.op)(node.target, arguments, fx.map_arg(node.kwargs, given))

    def _whole(self, node: fx.Node, row: WindowRow, piece: slice, boxes: Mapping[fx.Node, Tensor], part: slice) -> Any:
        """What dense nodes read of one that is none, for each window of a part."""
        if node in row.joints:
            held = self.plan.box(node, row.at(piece)).part(part)
            return merged(self.clean[node], boxes[node][part], held, Box.whole(self.shapes[node][2:]))
        windows = len(range(self.plan.windows.shape[-1])[piece][part])
        if node in self.plan.affected:  # only its shape is asked for
            return self.image.new_empty(()).expand(windows, *self.shapes[node][1:])
        value = self.clean[node]
        one = node in self.batched and isinstance(value, Tensor) and value.ndim and len(value) == 1
        return value.expand(windows, *value.shape[1:]) if one else value


def _needed(wanted: fx.Node) -> list[fx.Node]:
    """The nodes that a node depends on, and itself, in order of evaluation."""
    found, waiting = {wanted}, [wanted]
    while waiting:
        fresh = set(waiting.pop().all_input_nodes) - found
        found |= fresh
        waiting += fresh
    return [node for node in wanted.graph.nodes if node in found]


def _dead(nodes: Iterable[fx.Node], needed: Container[fx.Node] = ()) -> dict[fx.Node, list[fx.Node]]:
    """For each node the inputs that no node after it reads, less those needed elsewhere."""
    last = {source: node for node in nodes for source in node.all_input_nodes if source not in needed}
    dead = defaultdict(list)
    for source, node in last.items():
        dead[node].append(source)
    return dict(dead)


def _lengths(spans: tuple[Spans, ...]) -> tuple[int, ...]:
    return tuple(span.length for span in spans)


def _unpadded(module: Any) -> nn.Module:
    """The same module for inputs that hold their padding."""
    made: Any = copy.copy(module)
    made.padding = (0,) * len(module.padding) if isinstance(module.padding, tuple) else 0
    return made  # type: ignore[no-any-return]
