"""FF-VGG19: VGG19 with the features of several blocks fused before one classifier."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from torch import nn

from heatproof.component import Location, Params, Seed
from heatproof.imaging.transforms import Resize
from heatproof_checkpoints.initial import Weighted
from heatproof_classifiers.record import Names
from heatproof_ff_vgg19.network import FusedVGG19, Pooling

SMALLEST = 32
"""The side of images, in pixels, below which nothing is left to pool after the fifth block."""


def _in_order(taps: tuple[int, ...]) -> tuple[int, ...]:
    if list(taps) != sorted(set(taps)):
        raise ValueError("should be different blocks in ascending order, such as [2, 3, 4, 5]")
    return taps


Block = Annotated[int, Field(ge=1, le=5)]


class FFVGG19Params(Params):
    """The ``classes`` in the order of the outputs, the fused blocks, the weights, and the side of the prepared image.

    ``taps`` are the blocks, 1 to 5, whose pooled outputs are fused. ``pooling`` of each tap: the mean over its map
    (``average``), or all its cells (``flatten``), of which 224 pixels give 727,552. ``weights``: the path of a
    checkpoint of the whole network; without it, all weights are random by ``seed``. ``size`` is in pixels.
    """

    classes: Annotated[Names, Field(min_length=2)]
    taps: Annotated[tuple[Block, ...], Field(min_length=1), AfterValidator(_in_order)] = (2, 3, 4, 5)
    pooling: Pooling = "average"
    weights: Location | None = None
    seed: Seed = 0
    size: int = Field(default=224, ge=SMALLEST, le=10_000)


class FFVGG19(Weighted[FFVGG19Params]):
    """Classifies images with a VGG19 whose classifier also sees the features of earlier blocks.

    Athanasoula et al. (Grad-CAM on seven medical datasets) fuse features of several blocks of VGG19 (Simonyan and
    Zisserman 2015) and train all layers from scratch. The paper leaves details to another, and here they are: the
    outputs of the max pools of blocks 2 to 5, each normalised (BatchNorm), with dropout 0.5 and averaged over the
    map, make 128 + 256 + 512 + 512 = 1408 features, which a dense layer of 512 units with ReLU and dropout classifies.
    Images are resized, with values in 0 … 1.
    """

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = self.params.classes
        self.preparation = Resize(size=self.params.size, channels=3)

    @property
    def last_layer(self) -> str:
        """The last convolution of the deepest tap, whose grid is the coarsest; other taps do not pass through it."""
        return self.outline.convolutions[-1]

    def random_network(self) -> nn.Module:
        """Images (n, 3, size, size) → logits (n, class), with weights drawn from torch's generator."""
        params = self.params
        return FusedVGG19(len(self.classes), params.taps, params.pooling, params.size)
