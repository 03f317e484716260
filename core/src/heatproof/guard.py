"""The guard round code that gets a batch: it restores the network, and names what was changed for others."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batch import ARGUMENTS, Batch
from .errors import Interference
from .model import Model
from .network.views import View, Walk
from .network.weights import tensors
from .process_state import Process, refill, same
from .seeding import key
from .watch import watched

HARMLESS = "torch's gradient mode of the process"
"""What plugins may change while a shared result is computed: the passes set it themselves."""
EMPTY: dict[str, Any] = {}


@contextmanager
def guarded(name: str, batch: Batch, model_free: bool = False) -> Iterator[None]:
    """Seed the global generators by the batch; restore the process, the network and the batch afterwards.

    Raises ``Interference`` if the process, weights, the batch or its shared results were changed.
    """
    networks = nn.ModuleList([] if model_free else [batch.model.network, batch.view.module])
    kinds = {cls for kind in set(map(type, networks.modules())) for cls in kind.__mro__}
    process = Process([Batch, Model, View, Walk, *kinds - {object}])
    network = Network(batch.model, networks)
    shared = Shared(batch)
    earlier = batch.undisturbed
    batch.undisturbed = lambda: (
        not ({*process.changes(), *network.changes(), *shared.changes()} - {HARMLESS} or network.disturbed())
    )
    try:
        with watched(name, process, network, shared, device=batch.images.device):
            seed = key(batch.seed, *batch.ids)
            torch.manual_seed(seed % 2**63)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    except Interference:
        batch.keep(shared.results)
        raise
    finally:
        batch.undisturbed = earlier


class Network:
    """The modules and weights of a model's networks; modules are restored silently."""

    def __init__(self, model: Model, networks: nn.Module):
        self.model = model
        attributes = [vars(module) for module in networks.modules()]
        self.dictionaries = attributes + [
            value for state in attributes for value in state.values() if isinstance(value, dict)
        ]
        # Most dictionaries of a module are empty, and thousands of copies would set off the garbage collector.
        self.contents = [value.copy() if value else EMPTY for value in self.dictionaries]
        self.tensors = tensors(networks)
        self.versions = self._versions()
        self.gradients = [
            (parameter, parameter.requires_grad, parameter.grad, _clone(parameter.grad))
            for parameter in self.tensors
            if isinstance(parameter, nn.Parameter)
        ]

    def _versions(self) -> list[tuple[int, int]]:
        return [(tensor.data_ptr(), tensor._version) for tensor in self.tensors]

    def changes(self) -> list[str]:
        """The weights, if their memory or version has changed."""
        return ["weights or buffers of the model"] if self._versions() != self.versions else []

    def disturbed(self) -> bool:
        """Whether an attribute of a module, or an entry of a dictionary such as its hooks, is another object."""
        return not same(self.dictionaries, self.contents)

    def undo(self) -> list[str]:
        """Restore the modules; a network with other weights is dropped, and built again when it is needed."""
        if self.disturbed():
            for dictionary, content in zip(self.dictionaries, self.contents):
                refill(dictionary, content)
        for parameter, requires, gradient, values in self.gradients:
            if parameter.requires_grad != requires:
                parameter.requires_grad_(requires)
            if parameter.grad is not gradient:
                parameter.grad = gradient
            if gradient is not None and values is not None:
                gradient.data.copy_(values)
        changed = self.changes()
        if changed:
            self.model.forget()
        return changed


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


class Shared:
    """The arguments of a batch, its tensors, and its shared results."""

    def __init__(self, batch: Batch):
        self.batch = batch
        self.arguments = {name: value for name, value in vars(batch).items() if name in ARGUMENTS}
        self.inputs = batch.inputs.copy()
        self.results = batch.shared()
        self.reduced = len(batch.reduced)
        self.originals = batch.originals

    def changes(self) -> list[str]:
        """The names of what was replaced or written to; of shared results, as far as their versions show."""
        batch = self.batch
        changed = [name for name, value in self.arguments.items() if vars(batch).get(name) is not value]
        changed += [original.name for original in self.originals if original.seal.broken()]
        if not same(batch.inputs, self.inputs):
            changed.append("inputs")
        keys = [*batch.moved(), *batch.reduced[self.reduced :]]
        return [f"the {name} of its batch" for name in dict.fromkeys(changed)] + [
            f"the shared {key[0] if isinstance(key, tuple) else key}" for key in dict.fromkeys(keys)
        ]

    def undo(self) -> list[str]:
        """Restore arguments and tensors."""
        changed = self.changes()
        if changed:
            vars(self.batch).update(self.arguments)
            refill(self.batch.inputs, self.inputs)
            self.batch.originals = [original.restored() for original in self.originals]
        return changed
