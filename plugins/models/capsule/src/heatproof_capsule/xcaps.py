"""X-Caps: attributes of a lung nodule as the lengths of capsules, and its malignancy from them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from torch import nn

from heatproof.component import Location, Params, Seed
from heatproof.imaging.transforms import Resize, Side
from heatproof.records import Head
from heatproof_checkpoints.initial import Weighted

from .network import CapsuleNetwork

ATTRIBUTES = ("subtlety", "sphericity", "margin", "lobulation", "spiculation", "texture")
"""The rated attributes, by the names that LIDC-IDRI gives its characteristics."""
RATINGS = (
    "highly_unlikely", "moderately_unlikely", "indeterminate", "moderately_suspicious", "highly_suspicious",
)  # fmt: skip
"""The ratings of malignancy by the readers of LIDC-IDRI, 1 to 5."""
CLASSES: Mapping[str, tuple[str, ...]] = {"ratings": RATINGS, "binary": ("benign", "malignant")}
HEADS: Mapping[str, Head] = {"ratings": "softmax", "binary": "sigmoid"}


class XCapsParams(Params):
    """The weights and the sizes of the network; the defaults are those of the authors' code.

    ``weights``: the path of a checkpoint; without it, all weights are random by ``seed``. ``malignancy``: the five
    ``ratings`` of the readers by softmax, or ``binary``, one sigmoid output that benign and malignant share. ``size``
    is the side of the image in pixels, ``kernel`` that of both convolutions. ``features`` are the maps of the first
    one, ``capsules`` of ``atoms`` numbers each those of the second at every cell. ``attribute_atoms`` are the numbers
    of each attribute's capsule, ``iterations`` those of the routing, and ``decoder`` the units of the hidden layers
    from which the image is drawn again.
    """

    weights: Location | None = None
    seed: Seed = 0
    malignancy: Literal["ratings", "binary"] = "ratings"
    size: Side = 32
    kernel: PositiveInt = 9
    features: PositiveInt = 256
    capsules: PositiveInt = 32
    atoms: PositiveInt = 8
    attribute_atoms: PositiveInt = 16
    iterations: Annotated[int, Field(ge=1, le=100)] = 3
    decoder: tuple[PositiveInt, ...] = (512, 1024)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel > self.size:
            raise ValueError(f"a kernel of {self.kernel} does not fit into {self.size} pixels; give a smaller one")
        return self


class XCaps(Weighted[XCapsParams]):
    """Rates a lung nodule: six attributes as radiologists see them, and its malignancy from these.

    Each attribute is a capsule, a vector whose length in 0 … 1 is its score; routing by agreement sums the votes of all
    cells (LaLonde et al. 2020, "Encoding visual attributes in capsules for explainable medical diagnoses"; Huff et al.
    2021 review it as DX-Caps). Layer ``primary.convolution`` has the last grid over the image.

    Outputs: ``logits``, of the malignancy; ``attributes`` (n, 6) in the order of ``attribute_names``; and
    ``reconstruction`` (n, 1, size, size), the image in 0 … 1 that a decoder draws from the attributes alone.
    """

    outputs = ("logits", "attributes", "reconstruction")
    attribute_names = ATTRIBUTES
    """The names of the output ``attributes``, as those of the extras of LIDC-IDRI."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = CLASSES[self.params.malignancy]
        self.head = HEADS[self.params.malignancy]
        self.preparation = Resize(size=(self.params.size,) * 2, channels="luminance")

    def layers(self) -> tuple[str, ...]:
        """The two convolutions; behind them, capsules of all cells vote together and no grid is left."""
        return ("convolution", "primary.convolution")

    def random_network(self) -> nn.Module:
        """Build the network with random weights, drawn from torch's generator."""
        params = self.params
        return CapsuleNetwork(
            size=params.size, features=params.features, kernel=params.kernel, capsules=params.capsules,
            atoms=params.atoms, attributes=len(ATTRIBUTES), outputs=params.attribute_atoms,
            iterations=params.iterations, decoder=params.decoder,
            classes=1 if self.head == "sigmoid" else len(self.classes),
        )  # fmt: skip
