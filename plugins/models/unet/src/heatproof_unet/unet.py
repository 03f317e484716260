"""A U-Net that also classifies: its decoder gives a mask, its encoder the classes."""

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from heatproof.component import Location, Params, Seed
from heatproof.errors import ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof_checkpoints.initial import with_weights
from heatproof_classifiers.record import Names
from heatproof_unet.encoders import load_encoder, require_encoder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The means and deviations of ImageNet's channels, where white is 1."""
STRIDE = 32
"""The reduction of the encoder's last map; the side of an image is a multiple of it."""
MASK = "mask"
"""The name of the output of the decoder."""


class EncoderParams(Params):
    """The ``classes`` in the order of the outputs, the encoder, the weights, and the side of the prepared image.

    ``encoder`` is a name of segmentation-models-pytorch. ``weights``: the path of a checkpoint of the whole network.
    ``encoder_weights``: a name of the library's weights of the encoder alone, such as ``imagenet``, read from the
    cache of the hub and never downloaded. All other weights are random by ``seed``. ``dropout`` is the rate before the
    class output, in training. ``size`` is in pixels, a multiple of 32.
    """

    classes: Annotated[Names, Field(min_length=2)] = ("Normal", "CHF", "pneumonia")
    encoder: Annotated[str, Field(min_length=1, max_length=200)] = "efficientnet-b0"
    weights: Location | None = None
    encoder_weights: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    dropout: float = Field(default=0.5, ge=0, lt=1)
    seed: Seed = 0
    size: int = Field(default=224, ge=2 * STRIDE, le=9984, multiple_of=STRIDE)


class UNetParams(EncoderParams):
    """The settings of the encoder, and what is explained.

    ``output``: the ``classes`` of the image, or the ``mask`` per pixel, whose only class has the name of its
    ``finding``.
    """

    output: Literal["classes", "mask"] = "classes"
    finding: Annotated[str, Field(min_length=1, max_length=200)] = "gaze"


class UNet(Model[UNetParams]):
    """Classifies radiographs by the deepest features of a U-Net, whose decoder gives one logit per pixel.

    The U-Net (Ronneberger et al. 2015) of segmentation-models-pytorch has an EfficientNet-b0 (Tan and Le 2019) as its
    encoder, with 320 channels in its last map. Global average pooling, dropout and one linear layer make the logits;
    the decoder's 256, 128, 64, 32 and 16 channels make the mask, which training compares with the gaze of a radiologist
    (Watanabe et al. 2022, "Improving disease classification performance and explainability of deep learning models in
    radiology with heatmap generators"). As in that paper's code, an image is divided by its maximum, repeated to three
    channels, resized and normalised as ImageNet.
    """

    def __init__(self, **params: Any):
        super().__init__(**params)
        require_settings(self.params)
        self.preparation = prepared(self.params.size)
        self.classes = self.params.classes
        self.outputs = (MASK, "logits")
        if self.params.output == "mask":
            self.classes = (self.params.finding,)
            self.outputs = (MASK,)
            self.head = "sigmoid"

    def build(self) -> nn.Module:
        """Images (n, 3, h, w) → a mask (n, 1, h, w) and logits (n, class), both before any activation.

        Raises ``ModelError`` where the weights cannot be loaded.
        """
        params = self.params
        return with_weights(
            self.short, lambda: random_unet(params), params.seed, params.weights, remark=random_weights(params),
            classes=params.classes,
        )  # fmt: skip

    def target(self, target: str | int) -> int:
        """Return the index of a class of the explained output; raises ``ModelError`` for one of the other output."""
        if isinstance(target, str) and target not in self.classes and target.startswith(f"{MASK}/"):
            raise ModelError(f"{self.short}: {target!r} is no target; {self._advice()}.")
        return super().target(target)

    def _advice(self) -> str:
        region = f"{{class: {self.params.finding}, region: predicted}}"
        if self.params.output == "mask":
            return f"the model explains its mask, whose only class is {self.params.finding!r}, as in {region}"
        return f"for the mask, set output: mask of the model and give the target {region}"


def require_settings(params: EncoderParams) -> None:
    """Raise ``ModelError`` for an unknown encoder, and where two settings name its weights."""
    require_encoder(params.encoder)
    if params.weights is not None and params.encoder_weights is not None:
        raise ModelError(
            f"weights ({params.weights}) and encoder_weights ({params.encoder_weights}) both name weights of the "
            "encoder; a checkpoint holds those of the whole network, so leave encoder_weights out."
        )


def prepared(size: int) -> Resize:
    """Return the preparation of radiographs."""
    return Resize(size=size, channels=3, white="maximum", mean=MEAN, std=STD)


def random_weights(params: EncoderParams) -> str:
    """Say which weights are random without a checkpoint."""
    return "all weights are random" if params.encoder_weights is None else "all weights behind the encoder are random"


def random_unet(params: EncoderParams) -> Any:
    """Build the library's U-Net with weights from torch's generator, and those of the encoder if they have a name."""
    import segmentation_models_pytorch as smp

    head = {"classes": len(params.classes), "pooling": "avg", "dropout": params.dropout}
    network = smp.Unet(params.encoder, encoder_weights=None, in_channels=3, classes=1, aux_params=head)
    if params.encoder_weights is not None:
        load_encoder(network.encoder, params.encoder, params.encoder_weights)
    return network
