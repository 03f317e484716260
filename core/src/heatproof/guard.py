"""The guard round code that gets a batch: it restores the network, and names what was changed for others."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from .batch import ARGUMENTS, Batch
from .errors import Interference
from .model import Model
from .network.views import View, Walk
from .network.weights import tensors
from .process_state import Process, same, watched
from .seeding import key

State = tuple[dict[str, Any], dict[int, Any], list[tuple[Any, ...]]]
"""A module's attributes, the content of its dictionaries, and the gradient of each Parameter."""
HARMLESS = "torch's gradient mode of the process"
"""What plugins may change while a shared result is computed: the passes set it themselves."""


@contextmanager
def guarded(name: str, batch: Batch, model_free: bool = False) -> Iterator[None]:
    """Seed the global generators by the batch; restore the process, the network and the batch afterwards.

    Raises ``Interference`` if the process, weights, the batch or its shared results were changed.
    """
    networks: list[nn.Module] = []
    if not model_free:
        networks = [batch.model.network, batch.view.module]
    modules = list({id(module): module for network in networks for module in network.modules()}.values())
    kinds = {cls for kind in set(map(type, modules)) for cls in kind.__mro__}
    process = Process([Batch, Model, View, Walk, *kinds - {object}])
    network = Network(batch.model, networks, modules)
    shared = Shared(batch)
    earlier = batch.undisturbed
    batch.undisturbed = lambda: (
        not ({*process.changes(), *network.changes(), *shared.changes()} - {HARMLESS} or network.disturbed())
    )
    try:
        with watched(name, process, network, shared, device=batch.images.device):
            _seed(key(batch.seed, *batch.ids))
            yield
    except Interference:
        batch.keep(shared.results)
        raise
    finally:
        batch.undisturbed = earlier


def _seed(seed: int) -> None:
    """Seed the global generators of torch, Python and numpy."""
    torch.manual_seed(seed % 2**63)
    random.seed(seed)
    np.random.seed(seed % 2**32)


class Network:
    """The modules and weights of a model's networks; modules are restored silently."""

    def __init__(self, model: Model, networks: Sequence[nn.Module], modules: Sequence[nn.Module]):
        self.model = model
        self.states = [(module, _state(module)) for module in modules]
        self.tensors = [tensor for network in networks for tensor in tensors(network)]
        self.versions = self._versions()

    def _versions(self) -> list[tuple[int, int]]:
        return [(tensor.data_ptr(), tensor._version) for tensor in self.tensors]

    def changes(self) -> list[str]:
        """The weights, if their memory or version has changed."""
        return ["weights or buffers of the model"] if self._versions() != self.versions else []

    def disturbed(self) -> bool:
        """Whether an attribute or a hook of a module has changed."""
        return any(_disturbed(module, state) for module, state in self.states)

    def undo(self) -> None:
        """Restore the modules; a network with other weights is dropped, and built again when it is needed."""
        for module, state in self.states:
            _restore(module, state)
        if self.changes():
            self.model.forget()


class Shared:
    """The arguments of a batch, its tensors, and its shared results."""

    def __init__(self, batch: Batch):
        self.batch = batch
        self.arguments = {name: value for name, value in vars(batch).items() if name in ARGUMENTS}
        self.inputs = batch.inputs.copy()
        self.results = batch.results()
        batch.originals()

    def changes(self) -> list[str]:
        """The names of what was replaced or written to; of shared results, as far as their versions show."""
        batch = self.batch
        changed = [name for name, value in self.arguments.items() if vars(batch).get(name) is not value]
        changed += [original.name for original in batch.originals() if original.seal.broken()]
        if not same(batch.inputs, self.inputs):
            changed.append("inputs")
        now = batch.results()
        replaced = [key for key, value in self.results.items() if now.get(key, value) is not value]
        return [f"the {name} of its batch" for name in dict.fromkeys(changed)] + [
            f"the shared {key[0] if isinstance(key, tuple) else key}"
            for key in dict.fromkeys([*batch.moved(), *replaced])
        ]

    def undo(self) -> None:
        """Restore arguments and tensors."""
        vars(self.batch).update(self.arguments)
        self.batch.inputs.clear()
        self.batch.inputs.update(self.inputs)
        self.batch.restore()


def _state(module: nn.Module) -> State:
    """Read the state of a module."""
    attributes = module.__dict__.copy()
    # Most dictionaries of a module are empty, and thousands of copies would set off the garbage collector.
    contents = {id(value): value.copy() for value in attributes.values() if isinstance(value, dict) and value}
    gradients = [
        (parameter, parameter.requires_grad, parameter.grad, None if parameter.grad is None else parameter.grad.clone())
        for parameter in module._parameters.values()
        if parameter is not None
    ]
    return attributes, contents, gradients


def _disturbed(module: nn.Module, state: State) -> bool:
    """Whether an attribute of a module, or the content of one of its dictionaries, is another object."""
    attributes, contents, _ = state
    dictionaries = [value for value in attributes.values() if isinstance(value, dict)]
    return not same(module.__dict__, attributes) or any(
        not same(value, contents.get(id(value), {})) for value in dictionaries if value or id(value) in contents
    )


def _restore(module: nn.Module, state: State) -> None:
    attributes, contents, gradients = state
    module.__dict__.clear()
    module.__dict__.update(attributes)
    for value in attributes.values():  # the same objects: handles of the user's hooks refer to them
        if isinstance(value, dict) and (value or id(value) in contents):
            value.clear()
            value.update(contents.get(id(value), {}))
    for parameter, requires, gradient, values in gradients:
        if parameter.requires_grad != requires:
            parameter.requires_grad_(requires)
        if parameter.grad is not gradient:
            parameter.grad = gradient
        if gradient is not None:
            gradient.data.copy_(values)
