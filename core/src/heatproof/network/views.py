"""Views of a network that compute what it computes: one fx graph, two views of its weights.

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
    """What some kinds of module do with the gradient in the backward of one forward."""

    kinds: tuple[ModuleClass, ...]

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """What ``module`` made of ``values``, perhaps with a backward of its own."""


class Opaque:
    """A network that fx cannot trace: it runs as it is; its layers and activations are out of reach."""

    layers: Mapping[str, str] = {}

    def __init__(self, network: nn.Module, names: tuple[str, ...], reason: str):
        self.module, self.names, self.reason = network, names, reason

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and no activations; raises ``ModelError`` where a layer or a rule is asked for."""
        if missing := list(capture):
            raise ModelError(f"layer {missing[0]!r} cannot be observed: the network cannot be traced ({self.reason}).")
        if cell is not None:
            raise ModelError(f"no rule reaches its layers: the network cannot be traced ({self.reason}).")
        return named_outputs(self.module(images, **inputs), self.names), {}


class View:
    """A traced network in one of its two views; calling it gives outputs and the activations asked for.

    ``merged`` names for each convolution's node the BatchNorm that was merged into it.
    """

    reason = ""

    def __init__(self, module: fx.GraphModule, names: tuple[str, ...], merged: Mapping[str, str] | None = None):
        self.module, self.names, self.layers, self.merged = module, names, layers_of(module), merged or {}

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the activations of the layers in ``capture`` (part of the same graph).

        With a ``cell`` the activations obey its rule in the backward of this forward, and of no other.
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
        """The node that holds a layer's output; raises ``ModelError`` where there is none."""
        if layer not in self.layers:
            raise ModelError(
                f"the network has no module {layer!r} whose output can be observed; name one of its named_modules()."
            )
        return self.layers[layer]


class Walk(fx.Interpreter):
    """One forward over the graph that keeps the values of the nodes asked for and hands activations their rule."""

    def __init__(self, module: fx.GraphModule, nodes: frozenset[str], cell: Cell | None = None):
        super().__init__(module)
        self.nodes, self.cell = nodes, cell
        self.observed: dict[str, Any] = {}
        self.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so

    def run_node(self, node: fx.Node) -> Any:
        """Run a node as the interpreter does, and keep its value if asked for."""
        value = super().run_node(node)
        if node.name in self.nodes:
            self.observed[node.name] = value
        return value

    def call_module(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a module; one of the kinds that the cell of this walk is for hands it its gradient."""
        value, module = super().call_module(target, arguments, keywords), self.fetch_attr(target)
        if self.cell is None or not isinstance(module, self.cell.kinds):
            return value
        (values,) = (*arguments, *keywords.values())
        return self.cell.activated(module, values, value)


def _tensor(layer: str, value: Any) -> Tensor:
    """What a layer gave; raises ``ModelError`` where that is no tensor of real numbers."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
    raise ModelError(f"layer {layer!r} gives {kind}; only a tensor of real numbers can be observed, so name another.")


def view(
    network: nn.Module, names: tuple[str, ...], images: Tensor, inputs: Mapping[str, Any], folded: bool
) -> View | Opaque:
    """A view of ``network`` for images like these, compared with the network itself on a random batch.

    Raises ``ModelError`` naming the first differing node when, beyond rounding, its outputs are not the network's own.
    """
    try:
        module = canonical(network)
    except UNTRACEABLE as error:
        return Opaque(network, names, reason_of(error))
    made = View(module, names)
    if folded:
        module, merged = fold(module, images)
        made = View(module, names, merged)
    try:
        compare(made, network, images, inputs)
    except ModelError:
        if images.dtype == torch.float64:
            raise
        # In a deep network rounding alone can do this; in float64 only a wrong rewrite does.
        view(network, names, images.double(), _doubled(inputs), folded)
    return made


def _doubled(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Further inputs, with those of floating-point numbers in float64."""
    floats = {name: value for name, value in inputs.items() if isinstance(value, Tensor) and value.is_floating_point()}
    return {**inputs, **{name: value.double() for name, value in floats.items()}}
