"""Moves image, annotations and field together onto a model's grid."""

from abc import abstractmethod

from .component import Component
from .records import Sample


class Preparation(Component):
    """Puts a sample on a model's grid: image float32, annotations by area, field and geometry along with them."""

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid."""
        raise NotImplementedError
