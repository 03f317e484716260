"""Forwards of an image with a window replaced, which compute only the box of each activation that the window changes.

A window changes a box of the image. A convolution or a pooling widens the box, an activation keeps it, and an addition
or a concatenation unites it with others. The windows of one row of the grid, which differ only in their position along
the last axis, are computed together: their boxes get one size, and may therefore contain more than what changes. Whole
maps are computed from the first node at which a box is most of its map or at which no box is known. The outputs are
those of the full forward.
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
"""Whole maps are computed from the node on whose box is more than this share of its map."""
GridSlice = tuple[slice, ...]
"""Some windows of a grid: one slice per axis."""


@dataclass(frozen=True)
class WindowRow:
    """What the windows of one row of the grid change: a box of ``boxed`` nodes, the whole map of ``dense`` ones.

    ``index`` is the row's position along all axes but the last. ``joints`` are the nodes whose boxes are put into whole
    maps. ``dead`` lists for a node the values that no later node reads.
    """

    index: tuple[int, ...]
    boxed: tuple[fx.Node, ...]
    dense: tuple[fx.Node, ...]
    joints: frozenset[fx.Node]
    dead: Mapping[fx.Node, list[fx.Node]]

    def at(self, piece: slice = slice(None)) -> GridSlice:
        """The slice of the grid that is a piece of this row, by default all of it."""
        return _grid_slice(self.index, piece)


class WindowEffects:
    """What each window of a grid changes in the nodes that ``output`` depends on; it is the same for all images.

    ``stored`` are the nodes whose values for the unchanged image are read to compute a window.
    """

    def __init__(self, module: fx.GraphModule, output: fx.Node, windows: Windows):
        self.module = module
        self.output = output
        self.windows = windows
        self.image = next(iter(module.graph.nodes))
        self.nodes = _needed(output)
        self.affected = {self.image, output}
        self.spans: dict[fx.Node, tuple[Spans, ...]] = {self.image: windows.spans}
        self.fields: dict[fx.Node, tuple[ReceptiveField, ...]] = {}
        self.unpadded: dict[fx.Node, nn.Module] = {}
        for node in self.nodes:
            self._follow(node)
        self.rows = [self._row(index) for index in product(*map(range, windows.shape[:-1]))]
        self.stored = frozenset(self._stored())

    def box(self, node: fx.Node, grid_slice: GridSlice) -> Box:
        """The boxes of a node that the windows in a slice of the grid change."""
        return Box.around(self.spans[node], grid_slice)

    def share(self, node: fx.Node, grid_slice: GridSlice) -> float:
        """The share of the node's map that such a box takes."""
        return math.prod(self.box(node, grid_slice).sizes) / math.prod(span.length for span in self.spans[node])

    def read(self, node: fx.Node, grid_slice: GridSlice) -> Box:
        """The boxes of its inputs, padding included, that a node reads to compute its own boxes."""
        box = self.box(node, grid_slice)
        if node in self.fields:
            return box.read(self.fields[node])
        return box

    def wider(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of which a node reads more than their boxes."""
        if node not in self.fields:
            spans = self.spans[node]
            return [source for source in node.all_input_nodes if self.spans.get(source, spans) != spans]
        if all(reach.is_pointwise for reach in self.fields[node]):
            return []
        return node.all_input_nodes

    def _follow(self, node: fx.Node) -> None:
        """Record whether windows change a node and, if they change a box of it, the spans of the box."""
        maps = [source for source in node.all_input_nodes if source in self.affected]
        if not maps:
            return
        self.affected.add(node)
        if node is self.output or not all(source in self.spans for source in maps):
            return
        module = module_of(self.module, node)
        spans = [self.spans[source] for source in maps]
        dimensions = len(self.windows.spans)
        fields = receptive_fields(module, dimensions)
        if fields is not None:
            self.fields[node] = fields
            self.unpadded[node] = _unpadded(module)
            self.spans[node] = tuple(span.through(reach) for span, reach in zip(spans[0], fields))
        elif pointwise(node, module, maps, dimensions) and len(set(map(_lengths, spans))) == 1:
            self.spans[node] = tuple(Spans.union(axis) for axis in zip(*spans))

    def _row(self, index: tuple[int, ...]) -> WindowRow:
        """The nodes of a row; a boxed node depends on no dense one and changes in less than most of its map."""
        grid_slice = _grid_slice(index)
        boxed = {self.image: None}  # dictionaries as sets that keep their order
        dense: dict[fx.Node, None] = {}
        for node in self.nodes:
            if node not in self.affected or node is self.image:
                continue
            maps = self.affected.intersection(node.all_input_nodes)
            if node in self.spans and maps <= boxed.keys() and self.share(node, grid_slice) <= DENSE:
                boxed[node] = None
            else:
                dense[node] = None
        read: set[fx.Node] = set()
        for node in dense:
            if not reads_shape(node):
                read.update(node.all_input_nodes)
        joints = frozenset(read & boxed.keys())
        return WindowRow(index, tuple(boxed), tuple(dense), joints, _dead(boxed, joints) | _dead(dense))

    def _stored(self) -> Iterable[fx.Node]:
        """The nodes into whose maps boxes are put, and the inputs that no window changes."""
        yield self.image
        for row in self.rows:
            yield from row.joints
            for node in row.boxed[1:]:
                yield from self.wider(node)
            for node in (*row.boxed, *row.dense):
                yield from (source for source in node.all_input_nodes if source not in self.affected)


class Changes:
    """One image (1, c, *space) with its own forward, and what changes where a window shows the ``replacement``.

    ``clean`` holds the activations of the image that windows read, ``output`` its output (1, class).
    """

    def __init__(self, plan: WindowEffects, image: Tensor, replacement: Tensor, inputs: Mapping[str, Any]):
        self.plan = plan
        self.image = image
        self.replacement = replacement
        self.interpreter = fx.Interpreter(plan.module)
        self.interpreter.extra_traceback = False  # it rewrites error messages, and imports sympy for that
        self.clean: dict[fx.Node, Any] = {}
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.batched = {plan.image}
        self.output = self._forward(inputs)

    @property
    def bytes(self) -> int:
        """The memory of the stored activations, the image included."""
        values = (value for node, value in self.clean.items() if node in self.batched and isinstance(value, Tensor))
        return sum(value.nbytes for value in values)

    def boxes(self, row: WindowRow, piece: slice) -> dict[fx.Node, Tensor]:
        """The boxes (window, c, *sizes) of a row's joints, for a piece of the row."""
        grid_slice = row.at(piece)
        values = {self.plan.image: self._perturbed(grid_slice)}
        for node in row.boxed[1:]:
            values[node] = self._box(node, grid_slice, values)
            for source in row.dead.get(node, ()):
                values.pop(source, None)
        return values

    def outputs(self, row: WindowRow, piece: slice, boxes: Mapping[fx.Node, Tensor], part: slice) -> Tensor:
        """The outputs (window, class, …) of a part of a piece; ``boxes`` are those of the piece."""
        values: dict[fx.Node, Any] = {}
        self.interpreter.env = values
        for node in row.dense:
            for source in node.all_input_nodes:
                if source not in values:
                    values[source] = self._whole(source, row, piece, boxes, part)
            values[node] = self.interpreter.run_node(node)
            for source in row.dead.get(node, ()):
                values.pop(source, None)
        output: Tensor = values.pop(self.plan.output)
        return output

    def boxes_at_once(self, row: WindowRow, rows: int) -> int:
        """The number of windows whose largest boxes are no larger than the largest activation of ``rows`` images."""
        return self._at_once(rows, (self._size(node) * self.plan.share(node, row.at()) for node in row.boxed))

    def outputs_at_once(self, row: WindowRow, rows: int) -> int:
        """The number of windows whose largest maps are no larger than the largest activation of ``rows`` images."""
        return self._at_once(rows, (self._size(node) for node in (*row.joints, *row.dense)))

    def _at_once(self, rows: int, sizes: Iterable[float]) -> int:
        return max(1, int(rows * max(map(self._size, self.plan.nodes)) / max(sizes)))

    def _size(self, node: fx.Node) -> int:
        return math.prod(self.shapes.get(node, ()))

    def _forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """The output of the unchanged image; stores the activations that windows read."""
        values: dict[fx.Node, Any] = {}
        dead = _dead(self.plan.nodes)
        self.interpreter.env = values
        for node in self.plan.nodes:
            if node is self.plan.image:
                values[node] = self.image
            elif node.op == "placeholder":
                values[node] = inputs.get(str(node.target), *node.args)
            else:
                values[node] = self.interpreter.run_node(node)
            self._store(node, values[node])
            for source in dead.get(node, ()):
                del values[source]
        output: Tensor = values.pop(self.plan.output)
        return output

    def _store(self, node: fx.Node, value: Any) -> None:
        """Store a value if windows read it; record its shape, and whether it has a row per image."""
        if node.op == "placeholder" or not self.batched.isdisjoint(node.all_input_nodes):
            self.batched.add(node)
        if isinstance(value, Tensor):
            self.shapes[node] = value.shape
        if node in self.plan.stored:
            self.clean[node] = value

    def _perturbed(self, grid_slice: GridSlice) -> Tensor:
        """The boxes of the image with the replacement inside each window."""
        box = self.plan.box(self.plan.image, grid_slice)
        inside = box.inside(self.plan.windows.spans, grid_slice, self.image.device)
        return torch.where(inside[:, None], cut(self.replacement, box), cut(self.image, box))

    def _box(self, node: fx.Node, grid_slice: GridSlice, values: Mapping[fx.Node, Tensor]) -> Any:
        """The boxes of a node, computed from the ``values`` in the boxes of its inputs."""
        unpadded = self.plan.unpadded.get(node)
        wider = self.plan.wider(node)
        fill = 0.0
        if isinstance(unpadded, MAX_POOLS):
            fill = -math.inf

        def argument(source: fx.Node) -> Any:
            if source not in values:
                return self.clean[source]
            if source not in wider:
                return values[source]
            changed = self.plan.box(source, grid_slice)
            return merged(self.clean[source], values[source], changed, self.plan.read(node, grid_slice), fill)

        arguments = fx.map_arg(node.args, argument)
        if unpadded is not None:
            return unpadded(*arguments)
        return getattr(self.interpreter, node.op)(node.target, arguments, fx.map_arg(node.kwargs, argument))

    def _whole(self, node: fx.Node, row: WindowRow, piece: slice, boxes: Mapping[fx.Node, Tensor], part: slice) -> Any:
        """The value of a node that is not dense as dense nodes read it, for each window of a part."""
        if node in row.joints:
            changed = self.plan.box(node, row.at(piece)).select(part)
            return merged(self.clean[node], boxes[node][part], changed, Box.whole(self.shapes[node][2:]))
        windows = len(range(self.plan.windows.shape[-1])[piece][part])
        if node in self.plan.affected:  # only its shape is read
            return self.image.new_empty(()).expand(windows, *self.shapes[node][1:])
        value = self.clean[node]
        if node in self.batched and isinstance(value, Tensor) and value.ndim and len(value) == 1:
            return value.expand(windows, *value.shape[1:])
        return value


def _grid_slice(index: tuple[int, ...], piece: slice = slice(None)) -> GridSlice:
    """The slice of a grid that is a piece of the row at ``index``."""
    return (*(slice(start, start + 1) for start in index), piece)


def _needed(output: fx.Node) -> list[fx.Node]:
    """A node and all nodes that it depends on, in order of evaluation."""
    needed = {output}
    waiting = [output]
    while waiting:
        fresh = set(waiting.pop().all_input_nodes) - needed
        needed |= fresh
        waiting += fresh
    return [node for node in output.graph.nodes if node in needed]


def _dead(nodes: Iterable[fx.Node], needed: Container[fx.Node] = ()) -> dict[fx.Node, list[fx.Node]]:
    """For each node its inputs that no later node reads, except those that are ``needed`` elsewhere."""
    last_readers = {}
    for node in nodes:
        last_readers.update({source: node for source in node.all_input_nodes if source not in needed})
    dead = defaultdict(list)
    for source, node in last_readers.items():
        dead[node].append(source)
    return dict(dead)


def _lengths(spans: tuple[Spans, ...]) -> tuple[int, ...]:
    return tuple(span.length for span in spans)


def _unpadded(module: Any) -> nn.Module:
    """A copy of the module without padding, for inputs that already contain it."""
    unpadded: Any = copy.copy(module)
    unpadded.padding = 0
    if isinstance(module.padding, tuple):
        unpadded.padding = (0,) * len(module.padding)
    result: nn.Module = unpadded
    return result
