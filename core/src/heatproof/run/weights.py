"""The weights of a task's network: whether a plugin wrote to them, in any way, and how they come back."""

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..model import Model, NetworkModel
from ..network.weights import tensors
from ..seals import Seal, bits, sealed


class Weights:
    """The weights of a model and of its views, sealed to the bit; those of a network in memory are copied."""

    def __init__(self, model: Model):
        self.model = model
        self.seals: dict[nn.Module, list[Seal]] = {}
        self.originals = [bits(tensor, True) for tensor in tensors(model.network)]
        self.copies: list[Tensor] = []
        if isinstance(model, NetworkModel):
            self.copies = [tensor.detach().clone() for tensor in tensors(model.network)]

    def seal(self) -> None:
        """Seal the network and the views that are not sealed yet."""
        networks = [self.model.network, *(view.module for view in self.model.views())]
        self.seals = {network: self.seals.get(network) or sealed(tensors(network), exact=True) for network in networks}

    def damaged(self) -> bool:
        """Whether a sealed weight or buffer has changed."""
        return any(seal.broken() for seals in self.seals.values() for seal in seals)

    def recover(self) -> None:
        """Build the network again; raises ``ModelError`` if it has other weights than before."""
        self.model.forget()
        self.seals = {}
        if isinstance(self.model, NetworkModel):
            for tensor, values in zip(tensors(self.model.params.network), self.copies):
                # The network in memory has the type that its owner gave it.
                tensor.data = values.to(tensor.dtype, copy=True)
        contents = [bits(tensor, True) for tensor in tensors(self.model.network)]
        if len(contents) != len(self.originals) or not all(map(torch.equal, contents, self.originals)):
            raise ModelError(
                f"a plugin changed the weights of {self.model.short}, and its build() does not return the earlier "
                "ones; let it build a new network at every call, and run again."
            )
