"""Traces a network to one fx graph, and names its outputs."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, fx, nn

from .attention import FUSED, attention, is_spelled, spelling

OBSERVED = "heatproof layers"
"""The key of a node's ``meta`` that holds the names of the modules whose output is the node's value."""

EXPLAINED = "logits"
"""The name of the output that is explained, where a network has several."""


def explained(outputs: Collection[str]) -> str:
    """The name of the output that is explained: ``logits``, or else the first."""
    return EXPLAINED if EXPLAINED in outputs else next(iter(outputs))


def named_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """A network's outputs, or their nodes, by name; a single output has the first name, a dictionary has its keys."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, (Tensor, fx.Node)):
        return {names[0]: outputs}
    return dict(zip(names, outputs))


class Tracer(fx.Tracer):
    """Traces as fx does, and also records which node holds the output of each module at any depth.

    The second call of a module is named ``name__2``. A module that returns several tensors is not recorded. Attention
    is spelled out, so that its weights have a node.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: Counter[str] = Counter()
        self._spelled: set[nn.Module] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module becomes one node: those of torch whose call is not spelled out, and those of einops."""
        if type(m).__module__.startswith("einops."):
            return True  # it reads the shape of a tensor in Python
        return m not in self._spelled and super().is_leaf_module(m, module_qualified_name)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **keywords: Any) -> Any:
        """Create the node of an operation; a fused attention becomes several."""
        if target is FUSED and is_spelled(*args, **kwargs):
            return attention(*args, **kwargs, node=self._node)
        return super().create_proxy(kind, target, args, kwargs, *others, **keywords)

    def _node(self, function: Any, *arguments: Any) -> Any:
        """A call of a function as one node, into which tracing does not look."""
        return super().create_proxy("call_function", function, arguments, {})

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Call a module of the network, and record the node of its output."""
        spelled = spelling(m, *args, **kwargs)
        if spelled is None:
            self._spelled.discard(m)
        else:
            self._spelled.add(m)
            forward = spelled
        output = super().call_module(m, forward, args, kwargs)
        path = self.path_of_module(m)
        self._calls[path] += 1
        if isinstance(output, fx.Proxy):
            output.node.meta.setdefault(OBSERVED, []).append(numbered(path, self._calls[path]))
        return output


def numbered(name: str, call: int) -> str:
    """The name of a module's first, second, … call."""
    return name if call == 1 else f"{name}__{call}"


def traced(network: nn.Module, omitted: Iterable[str] = ()) -> fx.Graph:
    """The network's graph in evaluation mode; tracing copies the training flag into calls of functional dropout.

    Inputs that are ``omitted`` have their defaults, as in a call without them.
    """
    flags = {module: module.training for module in network.modules()}
    network.eval()
    parameters = signature(network.forward).parameters
    try:
        return Tracer().trace(network, {name: parameters[name].default for name in omitted})
    finally:
        for module, training in flags.items():
            module.training = training


@contextmanager
def tidied(network: nn.Module) -> Iterator[None]:
    """Remove the constants that tracing leaves on a network as attributes."""
    before = {*vars(network), *network._buffers}
    try:
        yield
    finally:
        for name in {*vars(network), *network._buffers} - before:
            delattr(network, name)


def optional(network: nn.Module, inputs: Iterable[str] = ()) -> tuple[str, ...]:
    """The further inputs of a network that have a default and are not among ``inputs``."""
    names = {*inputs}
    try:
        _, *others = signature(network.forward).parameters.values()
    except ValueError:
        return ()  # compiled code has no signature
    return tuple(item.name for item in others if item.default is not Parameter.empty and item.name not in names)
