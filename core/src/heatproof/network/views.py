"""Views: observable forms of a network that give the same outputs.

The *canonical* view shares the trained Parameters (for training losses and exact layer names); the *folded* view is a
frozen copy with BatchNorm merged into convolutions in float64 and channels_last memory, for every inference pass.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from .canonical import canonical, reason_of
from .equivalence import Trial
from .folding import fold, freeze
from .graph import arguments
from .layers import layers_of
from .modules import ModuleClass
from .opaque import Opaque, real_tensor
from .tracing import named_outputs, optional


class Cell(Protocol):
    """A rule that replaces the backward of some classes of module in one forward pass."""

    kinds: tuple[ModuleClass, ...]

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """The module's output ``activated`` for the input ``values``, with another backward if the rule changes it."""


class View:
    """A traced network in its canonical or folded form; a call returns outputs and activations.

    ``merged`` maps the node of a convolution to the node of the BatchNorm merged into it. ``omitted`` are the inputs
    of the network that have their defaults. ``notice`` is what a user should know of the view, or empty.
    """

    reason = ""

    def __init__(
        self, module: fx.GraphModule, names: tuple[str, ...], merged: Mapping[str, str] = MappingProxyType({}),
        omitted: tuple[str, ...] = (), notice: str = "",
    ):  # fmt: skip
        self.module = module
        self.names = names
        self.layers = layers_of(module)
        self.merged = merged
        self.omitted = omitted
        self.notice = notice

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the activations of the layers in ``capture``, all of one autograd graph.

        A ``cell`` replaces the backward of its kinds of module for this forward pass only.
        """
        values = arguments(self.module.graph, images.contiguous(), inputs)
        names = list(capture)
        if not names and cell is None:
            return named_outputs(self._run(values), self.names), {}
        nodes = {name: self._node(name) for name in names}
        walk = Walk(self.module, frozenset(nodes.values()), cell)
        outputs = named_outputs(walk.run(*values), self.names)
        return outputs, {name: real_tensor(name, walk.observed[node]) for name, node in nodes.items()}

    def _run(self, values: list[Any]) -> Any:
        if isinstance(self.module, fx.GraphModule):
            return nn.Module.__call__(self.module, *values)  # its own call prints a report of any error
        return self.module(*values)

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


Form = Callable[[fx.GraphModule, Tensor], tuple[fx.GraphModule, dict[str, str]]]
FORMS: Mapping[str, Form] = {
    "": fold,
    "in contiguous instead of channels_last memory": partial(fold, channels_last=False),
    "with BatchNorm as layers of their own": freeze,
}
"""The forms of a folded view, the fastest first, in words for users whose network does not get the first."""
UNFOLDED: Mapping[str, Form] = {"": lambda module, images: (module, {})}
"""The only form of a canonical view, which shares the trained Parameters."""


def view(
    network: nn.Module, names: tuple[str, ...], images: Tensor, inputs: Mapping[str, Any], folded: bool
) -> View | Opaque:
    """The fastest view of ``network`` with its outputs for images of this shape, dtype and device.

    Raises ``ModelError`` if the network couples the images of a batch or is not deterministic.
    """
    trial = Trial.of(network, names, images, inputs)
    try:
        omitted = optional(network, inputs)
        module = canonical(network, omitted)
    except Exception as error:
        trial.require_alone()
        return Opaque(trial.network, names, reason_of(error))
    refusal = ""
    for words, form in (FORMS if folded else UNFOLDED).items():
        copy, merged = form(module, images)
        notice = words and f"runs {words}, which takes longer: {refusal}"
        result = View(copy, names, merged, omitted, notice)
        refusal = trial.refusal(result)
        if not refusal:
            return result
        if not words:
            trial.require_alone()
        # Rounding in a deep network can exceed the tolerance in float32; in float64 only a wrong rewrite can.
        if folded and images.dtype != torch.float64 and _agrees_in_float64(trial.precise, form, module, omitted):
            return result
    return Opaque(trial.network, names, refusal)


def _agrees_in_float64(trial: Trial, form: Form, module: fx.GraphModule, omitted: tuple[str, ...]) -> bool:
    """Whether a form of the network is the network, by a trial in float64."""
    copy, merged = form(module, trial.images)
    return not trial.refusal(View(copy, trial.names, merged, omitted))
