"""Objectives: what training minimises."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

from torch import Tensor, nn

from heatproof.component import Component, P
from heatproof.errors import ModelError, near
from heatproof.model import Model
from heatproof_objectives.step import Step

LOSS = "loss"
"""The name of the loss that is minimised."""


class Objective(Component[P]):
    """What training minimises. A subclass must implement ``losses``; everything else has a default.

    ``fit`` of the base class gets the prepared samples of the training split before the first epoch.
    """

    @cached_property
    def labelled(self) -> bool:
        """Whether every sample needs a label; training refuses samples without, before the first epoch."""
        return True

    @abstractmethod
    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the losses of a step as scalars by name; ``loss`` is minimised, the others are logged.

        A loss is a mean over the samples, so that it does not depend on the size of the batch. Raises ``DataError``
        for samples without what the objective needs.
        """
        raise NotImplementedError

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model that the objective does not fit; called before the first epoch."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return the layers whose activations ``losses`` reads in ``Step.activations``, as ``Model.layer`` names them.

        They are observed in the forward pass of training, with their graph and in its mode.
        """
        return ()

    def modules(self, model: Model) -> nn.Module | None:
        """Build parts with weights of their own, such as a discriminator; None for none.

        They are trained with the network and stored in the state of the training, not in the checkpoint. Called once,
        with torch's generator seeded by the training; a subclass stores them in a private attribute.
        """
        return None

    def require_output(self, model: Model, name: str) -> None:
        """Raise ``ModelError`` unless the model has an output of this name."""
        if name not in model.outputs:
            raise ModelError(
                f"{self.short} needs the output {name!r}, which {model.short} does not have; "
                f"{near(name, model.outputs)}."
            )

    def require_head(self, model: Model, *heads: str) -> None:
        """Raise ``ModelError`` unless the model's head is one of these."""
        if model.head not in heads:
            allowed = " or ".join(heads)
            raise ModelError(
                f"{self.short} trains models with the head {allowed}; {model.short} has the head {model.head}. "
                "Choose another objective, or a model with that head."
            )
