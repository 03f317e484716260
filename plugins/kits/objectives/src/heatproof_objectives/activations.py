"""The activations of layers in the forward pass of training, without a second pass."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_objectives.step import evaluating

Call = tuple[str, int]
"""The path of a module in a network, and which of its calls in a forward pass is meant, counted from 0."""

ROUNDING = 1e-4
"""The largest difference of equal activations, as a share of the largest of them."""


class Activations:
    """Observes the calls of modules in each forward pass of a network while it is entered.

    ``values`` holds the outputs of the last pass by call. The network goes on with copies, so that a later module that
    works in place does not overwrite them.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str]):
        self.network = network
        self.paths = tuple(dict.fromkeys(paths))
        self.values: dict[Call, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self.values = {}
        self._counts.clear()
        for path in self.paths:
            self._handles.append(self.network.get_submodule(path).register_forward_hook(self._hook(path)))
        return self

    def __exit__(self, *details: object) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _hook(self, path: str) -> Callable[..., Any]:
        def observe(module: nn.Module, arguments: Any, output: Any) -> Any:
            call = (path, self._counts[path])
            self._counts[path] += 1
            if not isinstance(output, Tensor):
                return None
            self.values[call] = output
            return output.clone()

        return observe


def calls_of(model: Model, layers: Iterable[str]) -> Mapping[str, Call]:
    """Return the call of a module that gives the activation of each layer, as ``Model.layer`` names it.

    The name of a convolution stands for the end of the chain of convolution, normalisation and activation, so the
    layer's activation is compared with the outputs of all modules, on a random image in evaluation mode; of several
    equal ones the first counts. Raises ``ModelError`` for an unknown layer, and for a layer that no module computes.
    """
    names = [*dict.fromkeys(layers)]
    if not names:
        return {}
    expected = {name: example_activation(model, name) for name in names}
    image = _example(model, names[0])
    paths = [path for path, _ in model.network.named_modules() if path]
    with torch.no_grad(), evaluating(model.network), Activations(model.network, paths) as observed:
        model.network(image.clone())
    return {name: _equal(model, name, expected[name], observed.values) for name in names}


def example_activation(model: Model, layer: str) -> Tensor:
    """Return the activation of a layer for a random image (1, c, *space) in evaluation mode, without its graph.

    Raises ``ModelError`` for an unknown layer, and where it is unknown which images the network takes.
    """
    with torch.no_grad(), evaluating(model.network):
        name = model.layer(layer)
        image = _example(model, name)
        _, activations = model.view(image, {}, folded=False)(image, {}, [name])
    return activations[name]


def _example(model: Model, layer: str) -> Tensor:
    image = model.outline.example
    if image is None:
        raise ModelError(
            f"the layer {layer!r} of {model.short} cannot be observed in training: it is unknown which images the "
            "network takes alone; set the model's size, or choose a network without further inputs."
        )
    return image.to(next(model.network.parameters()))


def _equal(model: Model, layer: str, expected: Tensor, values: Mapping[Call, Tensor]) -> Call:
    for call, value in values.items():
        if value.shape == expected.shape and (value - expected).abs().max() <= ROUNDING * expected.abs().max():
            return call
    raise ModelError(
        f"the layer {layer!r} of {model.short} ends in a function that is no module, so it cannot be observed in "
        f"training; name a module whose output can, such as one of {', '.join(sorted({path for path, _ in values}))}."
    )
