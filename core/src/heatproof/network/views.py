"""Views: observable forms of a network that give the same outputs.

The *canonical* view shares the trained Parameters (for training losses and exact layer names); the *folded* view is a
frozen copy with BatchNorm merged into convolutions in float64 and channels_last memory, for every inference pass.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from .canonical import UNTRACEABLE, canonical, reason_of
from .equivalence import compare
from .folding import fold
from .graph import arguments
from .layers import layers_of
from .modules import ModuleClass
from .tracing import named_outputs


class Cell(Protocol):
    """A rule that replaces the backward of some classes of module in one forward pass."""

    kinds: tuple[ModuleClass, ...]

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """The module's output ``activated`` for the input ``values``, with another backward if the rule changes it."""


class Opaque:
    """A network that fx cannot trace: it runs unchanged, and its layers cannot be observed."""

    layers: Mapping[str, str] = {}

    def __init__(self, network: nn.Module, names: tuple[str, ...], reason: str):
        self.module = network
        self.names = names
        self.reason = reason

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and no activations; raises ``ModelError`` for a layer or a cell."""
        if missing := list(capture):
            raise ModelError(f"layer {missing[0]!r} cannot be observed: the network cannot be traced ({self.reason}).")
        if cell is not None:
            raise ModelError(f"no rule can change its layers: the network cannot be traced ({self.reason}).")
        return named_outputs(self.module(images, **inputs), self.names), {}


class View:
    """A traced network in its canonical or folded form; a call returns outputs and activations.

    ``merged`` maps the node of a convolution to the node of the BatchNorm merged into it.
    """

    reason = ""

    def __init__(self, module: fx.GraphModule, names: tuple[str, ...], merged: Mapping[str, str] | None = None):
        self.module = module
        self.names = names
        self.layers = layers_of(module)
        self.merged = merged or {}

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the activations of the layers in ``capture``, all of one autograd graph.

        A ``cell`` replaces the backward of its kinds of module for this forward pass only.
        """
        values = arguments(self.module.graph, images, inputs)
        names = list(capture)
        if not names and cell is None:
            return named_outputs(self.module(*values), self.names), {}
        nodes = {name: self._node(name) for name in names}
        walk = Walk(self.module, frozenset(nodes.values()), cell)
        outputs = named_outputs(walk.run(*values), self.names)
        return outputs, {name: _tensor(name, walk.observed[node]) for name, node in nodes.items()}

    def _node(self, layer: str) -> str:
        """The node that holds a layer's output; raises ``ModelError`` if there is none."""
        if layer not in self.layers:
            raise ModelError(
                f"the network has no module {layer!r} whose output can be observed; name one of its named_modules()."
            )
        return self.layers[layer]


class Walk(fx.Interpreter):
    """Runs a graph once, records the values of some nodes, and applies a cell to modules of its kinds."""

    def __init__(self, module: fx.GraphModule, nodes: frozenset[str], cell: Cell | None = None):
        super().__init__(module)
        self.nodes = nodes
        self.cell = cell
        self.observed: dict[str, Any] = {}
        self.extra_traceback = False  # otherwise fx rewrites the message of an error, and imports sympy to do so

    def run_node(self, node: fx.Node) -> Any:
        """Run a node, and record its value if it is one of ``nodes``."""
        value = super().run_node(node)
        if node.name in self.nodes:
            self.observed[node.name] = value
        return value

    def call_module(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a module, and apply the cell if the module is of its kinds."""
        value = super().call_module(target, arguments, keywords)
        module = self.fetch_attr(target)
        if self.cell is None or not isinstance(module, self.cell.kinds):
            return value
        [values] = [*arguments, *keywords.values()]  # a cell acts on modules of one input
        return self.cell.activated(module, values, value)


def _tensor(layer: str, value: Any) -> Tensor:
    """The output of a layer; raises ``ModelError`` unless it is a tensor of real numbers."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    kind = getattr(value, "dtype", type(value).__name__)
    raise ModelError(f"layer {layer!r} gives {kind}; only a tensor of real numbers can be observed, so name another.")


def view(
    network: nn.Module, names: tuple[str, ...], images: Tensor, inputs: Mapping[str, Any], folded: bool
) -> View | Opaque:
    """A view of ``network`` for images of this shape, dtype and device, compared with it on a random image.

    Raises ``ModelError`` naming the first node that differs if the outputs differ by more than rounding errors.
    """
    try:
        module = canonical(network)
    except UNTRACEABLE as error:
        return Opaque(network, names, reason_of(error))
    merged: Mapping[str, str] = {}
    if folded:
        module, merged = fold(module, images)
    result = View(module, names, merged)
    try:
        compare(result, network, images, inputs)
    except ModelError:
        if images.dtype == torch.float64:
            raise
        # Rounding in a deep network can exceed the tolerance in float32; in float64 only a wrong rewrite can.
        view(network, names, images.double(), _in_float64(inputs), folded)
    return result


def _in_float64(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs, with floating-point tensors converted to float64."""
    floats = {name: value for name, value in inputs.items() if isinstance(value, Tensor) and value.is_floating_point()}
    return {**inputs, **{name: value.double() for name, value in floats.items()}}
