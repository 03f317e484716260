"""Inspectors: each looks at one thing in a network or its features."""

from abc import abstractmethod

from heatproof.component import Component, P
from heatproof.model import Model
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.subject import Subject


class Inspector(Component[P]):
    """Looks at one thing in a network or its features. A subclass must implement ``inspect``."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return the layers whose features ``inspect`` reads, as ``Model.layer`` names them; by default none.

        The features of all inspectors are taken together. Raises ``ModelError`` for a layer that does not exist.
        """
        return ()

    @abstractmethod
    def inspect(self, subject: Subject) -> Inspection:
        """Return what it shows; raises ``DataError`` or ``ModelError`` where it cannot be had, and says why."""
        raise NotImplementedError
