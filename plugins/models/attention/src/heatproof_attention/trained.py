"""The base class of networks with attention: their classes, preparation and weights."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from heatproof.component import Location, Params, Seed
from heatproof.imaging.transforms import Resize, Side
from heatproof.records import Head
from heatproof_checkpoints.initial import Weighted

Width = Annotated[int, Field(ge=1, le=4096)]
HEADS: Mapping[str, Head] = {"softmax": "softmax", "sigmoid": "sigmoid"}


class TrainedParams(Params):
    """The ``classes`` of the logits in their order, the ``head``, the prepared image, and the source of the weights.

    ``head``: ``softmax``, or ``sigmoid`` for classes that do not exclude each other. The whole image is stretched to a
    square of ``size`` pixels with ``channels`` channels (``luminance`` for colours as grey). ``weights``: the path of a
    checkpoint; without it, all weights are random by ``seed``.
    """

    classes: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=2)]
    head: Literal["softmax", "sigmoid"] = "softmax"
    size: Side = 224
    channels: Annotated[int, Field(ge=1, le=1000)] | Literal["luminance"] = 3
    weights: Location | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise ValueError(f"classes names {repeated[0]!r} twice; give each logit a name of its own")
        return self

    @property
    def width(self) -> int:
        """The channels of prepared images."""
        return 1 if self.channels == "luminance" else self.channels


T = TypeVar("T", bound=TrainedParams, covariant=True)


class Trained(Weighted[T]):
    """A network with attention, trained or with random weights; a subclass implements ``random_network``."""

    attention_names: tuple[str, ...]
    """The names of the maps of the output ``attention``, in order."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = self.params.classes
        self.head = HEADS[self.params.head]
        self.preparation = Resize(size=self.params.size, channels=self.params.channels)

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Gradients and layers, and the output ``attention``."""
        return super().capabilities | {"attention"}
