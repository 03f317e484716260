"""The guard round code that gets a batch: it restores the network, and names what was changed for others."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batch import ARGUMENTS, Batch
from .errors import Interference
from .model import Model
from .network.views import View, Walk
from .process_state import Process, same
from .seeding import key
from .watch import watched

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
    network = Network(batch.model, modules)
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

    def __init__(self, model: Model, modules: Sequence[nn.Module]):
        self.model = model
        self.states = [State.of(module) for module in modules]
        self.tensors = [
            tensor
            for module in modules
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        ]
        self.versions = self._versions()

    def _versions(self) -> list[tuple[int, int]]:
        return [(tensor.data_ptr(), tensor._version) for tensor in self.tensors]

    def changes(self) -> list[str]:
        """The weights, if their memory or version has changed."""
        return ["weights or buffers of the model"] if self._versions() != self.versions else []

    def disturbed(self) -> bool:
        """Whether an attribute or a hook of a module has changed."""
        return any(state.disturbed() for state in self.states)

    def undo(self) -> list[str]:
        """Restore the modules; a network with other weights is dropped, and built again when it is needed."""
        for state in self.states:
            state.restore()
        changed = self.changes()
        if changed:
            self.model.forget()
        return changed


class Shared:
    """The arguments of a batch, its tensors, and its shared results."""

    def __init__(self, batch: Batch):
        self.batch = batch
        self.arguments = {name: value for name, value in vars(batch).items() if name in ARGUMENTS}
        self.inputs = batch.inputs.copy()
        self.results, self.reduced = batch.shared()
        batch.originals()

    def changes(self) -> list[str]:
        """The names of what was replaced or written to; of shared results, as far as their versions show."""
        batch = self.batch
        changed = [name for name, value in self.arguments.items() if vars(batch).get(name) is not value]
        changed += [original.name for original in batch.originals() if original.seal.broken()]
        if not same(batch.inputs, self.inputs):
            changed.append("inputs")
        _, reduced = batch.shared()
        return [f"the {name} of its batch" for name in dict.fromkeys(changed)] + [
            f"the shared {key[0] if isinstance(key, tuple) else key}"
            for key in dict.fromkeys([*batch.moved(), *reduced[len(self.reduced) :]])
        ]

    def undo(self) -> list[str]:
        """Restore arguments and tensors."""
        changed = self.changes()
        if not changed:
            return []
        vars(self.batch).update(self.arguments)
        self.batch.inputs.clear()
        self.batch.inputs.update(self.inputs)
        self.batch.restore()
        return changed


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


@dataclass(frozen=True)
class State:
    """A module's attributes, its dictionaries with their content, the empty ones, and the gradients of Parameters."""

    module: nn.Module
    attributes: dict[str, Any]
    contents: list[tuple[dict[str, Any], dict[str, Any]]]
    empty: list[dict[str, Any]]
    gradients: list[tuple[nn.Parameter, bool, Tensor | None, Tensor | None]]

    @classmethod
    def of(cls, module: nn.Module) -> "State":
        """Read the state of a module."""
        attributes = module.__dict__.copy()
        # Most dictionaries of a module are empty, and thousands of copies would set off the garbage collector.
        dictionaries = [value for value in attributes.values() if isinstance(value, dict)]
        contents = [(value, value.copy()) for value in dictionaries if value]
        gradients = [
            (parameter, parameter.requires_grad, parameter.grad, _clone(parameter.grad))
            for parameter in module._parameters.values()
            if parameter is not None
        ]
        return cls(module, attributes, contents, [value for value in dictionaries if not value], gradients)

    def disturbed(self) -> bool:
        """Whether an attribute, or an entry of one of the dictionaries, is another object."""
        return (
            any(self.empty)
            or not same(self.module.__dict__, self.attributes)
            or not all(same(value, content) for value, content in self.contents)
        )

    def restore(self) -> None:
        """Restore the same objects: handles of the user's hooks refer to them."""
        if self.disturbed():
            for value, content in [(self.module.__dict__, self.attributes), *self.contents]:
                value.clear()
                value.update(content)
            for value in self.empty:
                value.clear()
        for parameter, requires, gradient, values in self.gradients:
            if parameter.requires_grad != requires:
                parameter.requires_grad_(requires)
            if parameter.grad is not gradient:
                parameter.grad = gradient
            if gradient is not None and values is not None:
                gradient.data.copy_(values)
