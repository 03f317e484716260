"""The first weights of a network: drawn by a seed, or those of a checkpoint."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from heatproof.component import P
from heatproof.model import Model
from heatproof.notices import notice
from heatproof_checkpoints.checkpoint import Translations, load_weights

Built = TypeVar("Built")
ALL = "all weights are random"


def drawn(build: Callable[[], Built], seed: int) -> Built:
    """Call ``build`` with torch's generator seeded; the state of the generator is as before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def say_random(model: str, seed: int, remark: str = ALL) -> None:
    """Say that weights of a model are random, and what to do."""
    notice(f"{model}: {remark} (seed {seed}); to explain a trained network, set weights to the path of a checkpoint.")


def with_weights(
    model: str, build: Callable[[], nn.Module], seed: int, weights: Path | None,
    translations: Translations | None = None, beside: tuple[str, ...] = (), remark: str = ALL,
    classes: Sequence[str] = (),
) -> nn.Module:  # fmt: skip
    """Build a network with the weights of a checkpoint, or with random ones of the seed, which is said.

    ``remark`` says which weights ``build`` draws. ``translations``, ``beside`` and ``classes`` are those of
    ``load_weights``, whose errors are raised too.
    """
    network = drawn(build, seed)
    if weights is not None:
        return load_weights(network, weights, translations, beside, classes)
    say_random(model, seed, remark)
    return network


class Weighted(Model[P]):
    """A model whose settings ``weights`` (a path, or None) and ``seed`` give its weights.

    A subclass implements ``random_network``.
    """

    @property
    def translations(self) -> Translations:
        """Other libraries, and how their names of tensors become those of the network; by default none."""
        return {}

    @abstractmethod
    def random_network(self) -> nn.Module:
        """Build the network with random weights, drawn from torch's generator."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """Build the network with its weights; raises ``ModelError`` where the checkpoint does not fit."""
        params: Any = self.params
        return with_weights(
            self.short, self.random_network, params.seed, params.weights, self.translations, classes=self.classes
        )
