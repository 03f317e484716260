"""A network that runs unchanged, whose modules are observed by hooks."""

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from threading import RLock
from typing import Any

from torch import Tensor, contiguous_format, nn

from ..errors import ModelError
from .tracing import named_outputs, numbered


class Opaque:
    """A network that runs unchanged, since no rewritten copy gives its outputs; hooks observe its modules.

    A layer is the output of a module by its path; ``name__2`` is the module's second call.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...], reason: str):
        self.module = network
        self.names = names
        self.reason = reason
        self.notice = f"runs without a faster copy and without methods that change the rules of layers: {reason}"
        self._lock = RLock()

    def __call__(
        self, images: Tensor, inputs: Mapping[str, Any], capture: Iterable[str] = (), cell: object | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and the outputs of the modules in ``capture``; raises ``ModelError`` for a cell."""
        if cell is not None:
            raise ModelError(f"no rule can change its layers: the network cannot be traced ({self.reason}).")
        names = list(capture)
        with self._lock, Recorder(self.module, names) as recorder:
            # The first layer may work in place, and the images belong to others.
            outputs = named_outputs(self.module(images.clone(memory_format=contiguous_format), **inputs), self.names)
        if missing := [name for name in names if name not in recorder.observed]:
            raise ModelError(f"layer {missing[0]!r} cannot be observed: {_unobserved(self.module, missing[0])}.")
        return outputs, {name: real_tensor(name, recorder.observed[name]) for name in names}


class Recorder:
    """Records outputs and modules of a network by name while it is entered; only for ``names``, or for all modules.

    The network goes on with copies, so that later layers that work in place do not overwrite what was recorded.
    """

    def __init__(self, network: nn.Module, names: Iterable[str] | None = None):
        self.network = network
        self.names = None if names is None else frozenset(names)
        self.observed: dict[str, Any] = {}
        self.modules: dict[str, nn.Module] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> "Recorder":
        if self.names is None or self.names:
            modules = [(path, module) for path, module in self.network.named_modules() if path]
            self._handles += [module.register_forward_hook(self._hook(path)) for path, module in modules]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, path: str) -> Callable[..., Any]:
        calls = count(1)

        def observe(module: nn.Module, arguments: Any, output: Any) -> Any:
            name = numbered(path, next(calls))
            if self.names is not None and name not in self.names:
                return None
            self.observed[name] = output
            self.modules[name] = module
            return output.clone() if isinstance(output, Tensor) else None

        return observe


def _unobserved(network: nn.Module, name: str) -> str:
    """Why hooks observe nothing under a name."""
    if name.partition("__")[0] not in dict(network.named_modules()):
        return "the network has no such module; name one of its named_modules()"
    return "the network does not call this module, or calls it from code that was compiled"


def real_tensor(layer: str, value: Any) -> Tensor:
    """The output of a layer; raises ``ModelError`` unless it is a tensor of real numbers."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    kind = getattr(value, "dtype", type(value).__name__)
    raise ModelError(f"layer {layer!r} gives {kind}; only a tensor of real numbers can be observed, so name another.")
