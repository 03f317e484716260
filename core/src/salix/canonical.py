"""Makes a torch network explainable without changing its outputs: one fx graph, two views of its weights.

The *canonical* view shares the trained Parameters (for training losses and exact layer names); the *folded* view is a
frozen copy with BatchNorm merged into convolutions in float64 and channels_last memory, for every inference pass.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .errors import ModelError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
    nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid,
)  # fmt: skip
FUNCTIONAL_ACTIVATIONS: dict[Any, type[nn.Module]] = {
    functional.relu: nn.ReLU, torch.relu: nn.ReLU, torch.relu_: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU,
    functional.relu6: nn.ReLU6, functional.silu: nn.SiLU, functional.gelu: nn.GELU, functional.elu: nn.ELU,
    functional.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, "sigmoid": nn.Sigmoid,
    functional.tanh: nn.Tanh, torch.tanh: nn.Tanh, "tanh": nn.Tanh,
    functional.hardswish: nn.Hardswish, functional.hardsigmoid: nn.Hardsigmoid,
}  # fmt: skip
HOOK_DICTIONARIES = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


def named_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    """A network's outputs by name: a tensor is the first, a tuple is matched in order, a dictionary stays."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, Tensor):
        return {names[0]: outputs}
    return dict(zip(names, outputs))


class Opaque:
    """A network that fx cannot trace: it runs as it is; its layers are out of reach."""

    layers: Mapping[str, str] = {}

    def __init__(self, network: nn.Module, names: tuple[str, ...], reason: str):
        self.module, self.names, self.reason = network, names, reason

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = ()
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and no activations."""
        if missing := list(capture):
            raise ModelError(f"layer {missing[0]!r} cannot be observed: the network cannot be traced ({self.reason}).")
        return named_outputs(self.module(images, **inputs), self.names), {}


class View:
    """A traced network in one of its two views; calling it gives outputs and the activations asked for."""

    reason = ""

    def __init__(self, module: fx.GraphModule, layers: Mapping[str, str], names: tuple[str, ...], folded: int):
        self.module, self.layers, self.names, self.folded = module, dict(layers), names, folded

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = ()
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the activations of the layers in ``capture`` (part of the same graph)."""
        walk = Walk(self.module, {self.layers[layer]: layer for layer in capture})
        outputs = walk.run(*self._arguments(images, inputs))
        return named_outputs(outputs, self.names), walk.activations

    def _arguments(self, images: Tensor, inputs: Mapping[str, Any]) -> list[Any]:
        first, *others = [node for node in self.module.graph.nodes if node.op == "placeholder"]
        return [images, *(inputs.get(str(node.target), *node.args) for node in others)]


class Walk(fx.Interpreter):
    """One forward over the graph that keeps the activations asked for."""

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, str]):
        super().__init__(module)
        self.wanted, self.activations = wanted, dict[str, Tensor]()
        self.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so

    def run_node(self, node: fx.Node) -> Any:
        """Run a node as the interpreter does, and keep its value if asked for."""
        value = super().run_node(node)
        if node.name in self.wanted:
            self.activations[self.wanted[node.name]] = value
        return value


def view(
    network: nn.Module, names: tuple[str, ...], images: Tensor, inputs: Mapping[str, Any], folded: bool
) -> View | Opaque:
    """A view of ``network`` for images like these, compared with the network itself on a random batch.

    Raises ``ModelError`` naming the first differing node when the view's outputs are not the network's own.
    """
    try:
        module = canonical(network)
    except _UNTRACEABLE as error:
        return Opaque(network, names, (str(error).splitlines() or [type(error).__name__])[0])
    layers, count = _layers(module), 0
    if folded:
        module, count = fold(module, images)
        layers = _layers(module)
    made = View(module, layers, names, count)
    _compare(made, network, images, inputs)
    return made


_UNTRACEABLE = (fx.proxy.TraceError, TypeError, NameError, AttributeError, RuntimeError, ValueError)


def canonical(network: nn.Module) -> fx.GraphModule:
    """The traced network: every activation a module of its own, nothing in place, Parameters shared."""
    flags = {module: module.training for module in network.modules()}
    network.eval()  # tracing bakes the flag of functional dropout, so trace as it will run
    try:
        graph = fx.Tracer().trace(network)
    finally:
        for module, training in flags.items():
            module.training = training
    root = dict(_attributes(network, graph))
    calls: dict[str, int] = {}
    for node in list(graph.nodes):
        _own_module(node, root, network, calls)
    module = fx.GraphModule(root, graph)
    _drop_asserts(module)
    module.graph.lint()
    return module.eval()


def fold(module: fx.GraphModule, images: Tensor) -> tuple[fx.GraphModule, int]:
    """A frozen copy with every BatchNorm that alone follows a convolution merged into it, and how many were."""
    folded = copy.deepcopy(module).double()
    count = 0
    for node in list(folded.graph.nodes):
        count += _fold_into_convolution(folded, node)
    folded.delete_all_unused_submodules()
    folded.recompile()
    folded.to(device=images.device, dtype=images.dtype).requires_grad_(False)
    if images.ndim == 4:
        folded.to(memory_format=torch.channels_last)
    return folded.eval(), count


def convolutions(network: nn.Module) -> tuple[str, ...]:
    """The names of the convolutions of ``network`` in order of evaluation; empty when it cannot be traced."""
    try:
        return tuple(_layers(canonical(network)))
    except _UNTRACEABLE:
        return ()


def _drop_asserts(module: fx.GraphModule) -> None:
    """Erase assertions, which would keep readers on a convolution's output and so prevent folding."""
    for node in reversed(module.graph.nodes):
        if node.op == "call_function" and node.target is torch._assert:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _attributes(network: nn.Module, graph: fx.Graph) -> Iterable[tuple[str, Any]]:
    for node in graph.nodes:
        if node.op == "get_attr":
            owner, _, leaf = str(node.target).rpartition(".")
            yield str(node.target), getattr(network.get_submodule(owner), leaf)


def _own_module(node: fx.Node, root: dict[str, Any], network: nn.Module, calls: dict[str, int]) -> None:
    """Give a node a module of its own: a shared-Parameter copy, or one made from a functional activation."""
    if node.op == "call_module":
        name = str(node.target)
        calls[name] = calls.get(name, 0) + 1
        own = name if calls[name] == 1 else f"{name}__{calls[name]}"
        root[own] = _copy(network.get_submodule(name))
        node.target = own
    elif node.target in FUNCTIONAL_ACTIVATIONS and len(node.all_input_nodes) == 1:
        own = f"{node.name}_module"
        keywords = {key: value for key, value in node.kwargs.items() if key not in ("inplace", "input")}
        root[own] = FUNCTIONAL_ACTIVATIONS[node.target](*_settings(node), **keywords)
        source = node.all_input_nodes[0]
        node.op, node.target, node.args, node.kwargs = "call_module", own, (source,), {}
    else:
        _not_in_place(node)


def _not_in_place(node: fx.Node) -> None:
    """Let a call give a new tensor, so that an activation that was kept is never overwritten."""
    if node.op == "call_method" and str(node.target).endswith("_") and hasattr(Tensor, str(node.target)[:-1]):
        node.target = str(node.target)[:-1]
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}


def _settings(node: fx.Node) -> tuple[Any, ...]:
    """The positional settings of a functional activation, without its input and its in-place flag."""
    return tuple(value for value in node.args[1:] if not isinstance(value, bool))


def _copy(module: nn.Module) -> nn.Module:
    """The same Parameters in a module of its own, without hooks and not in place."""
    clone = copy.copy(module)
    clone._parameters, clone._buffers = dict(module._parameters), dict(module._buffers)
    clone._modules = {name: _copy(child) for name, child in module._modules.items() if child is not None}
    for hooks in HOOK_DICTIONARIES:
        setattr(clone, hooks, OrderedDict())
    clone.__dict__.pop("forward", None)  # a forward patched on the instance belongs to the user's module
    if getattr(clone, "inplace", False):
        clone.inplace = False  # type: ignore[assignment]
    return clone


def _only_reader(node: fx.Node, module: fx.GraphModule, kinds: tuple[type[nn.Module], ...]) -> fx.Node | None:
    """The one reader of a node if it is a module of these kinds."""
    if len(node.users) != 1:
        return None
    reader = next(iter(node.users))
    if reader.op == "call_module" and isinstance(module.get_submodule(str(reader.target)), kinds):
        return reader
    return None


def _layers(module: fx.GraphModule) -> dict[str, str]:
    """Convolution name → node that ends its chain convolution → BatchNorm → activation."""
    chains: dict[str, str] = {}
    for node in module.graph.nodes:
        if node.op != "call_module" or not isinstance(module.get_submodule(str(node.target)), CONVOLUTIONS):
            continue
        end = _only_reader(node, module, BATCH_NORMS) or node
        chains[str(node.target)] = (_only_reader(end, module, ACTIVATIONS) or end).name
    return chains


def _fold_into_convolution(module: fx.GraphModule, node: fx.Node) -> int:
    if node.op != "call_module" or not isinstance(module.get_submodule(str(node.target)), CONVOLUTIONS):
        return 0
    norm = _only_reader(node, module, BATCH_NORMS)
    if norm is None or module.get_submodule(str(norm.target)).running_mean is None:
        return 0
    convolution: Any = module.get_submodule(str(node.target))
    batch_norm: Any = module.get_submodule(str(norm.target))
    fused = fuse_conv_bn_eval(convolution, batch_norm)
    owner, _, leaf = str(node.target).rpartition(".")
    setattr(module.get_submodule(owner), leaf, fused)
    norm.replace_all_uses_with(node)
    module.graph.erase_node(norm)
    return 1


@torch.no_grad()
def _compare(made: View, network: nn.Module, images: Tensor, inputs: Mapping[str, Any]) -> None:
    """Refuse a view whose outputs differ from the network's own on a random batch."""
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(images[:1].shape, generator=draw, dtype=torch.float64).to(images)
    first = {name: value[:1] if isinstance(value, Tensor) else value for name, value in inputs.items()}
    expected = named_outputs(_reference(network, images.dtype)(batch, **first), made.names)
    found, _ = made(batch, first)
    for name, value in expected.items():
        scale = value.abs().max().clamp_min(torch.finfo(value.dtype).tiny)
        difference = float((found[name] - value).abs().max() / scale)
        if not difference <= TOLERANCE.get(images.dtype, 1e-2):
            raise ModelError(
                f"the traced network's output {name!r} differs from the network's own by {difference:.1e} of its "
                f"largest value{_first_in_place(network)}; give the network without such a layer."
            )


def _reference(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself, or a copy in the dtype that is asked for."""
    parameter = next(network.parameters(), None)
    if parameter is None or parameter.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)


def _first_in_place(network: nn.Module) -> str:
    names = [name for name, module in network.named_modules() if getattr(module, "inplace", False)]
    return f"; the first layer that works in place is {names[0]!r}" if names else ""
