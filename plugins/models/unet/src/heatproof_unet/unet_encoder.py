"""The encoder of a U-Net with its class output alone."""

from typing import Any

from torch import Tensor, nn

from heatproof.model import Model
from heatproof_checkpoints.initial import with_weights
from heatproof_unet.unet import EncoderParams, prepared, random_unet, random_weights, require_settings

DECODER = ("decoder.", "segmentation_head.")
"""The beginnings of the names of a U-Net's weights that only its mask depends on."""


class UNetEncoder(Model[EncoderParams]):
    """Classifies radiographs as ``unet`` does, without its decoder: the network that was never trained on masks.

    The classifier without segmentation of Watanabe et al. 2022. With equal weights, also those of equal seeds, its
    logits are those of ``unet``. It loads a checkpoint of a U-Net, whose decoder it leaves out, which a warning says.
    """

    def __init__(self, **params: Any):
        super().__init__(**params)
        require_settings(self.params)
        self.preparation = prepared(self.params.size)
        self.classes = self.params.classes

    def build(self) -> nn.Module:
        """Images (n, 3, h, w) → logits (n, class); raises ``ModelError`` where the weights cannot be loaded."""
        params = self.params
        return with_weights(
            self.short, lambda: EncoderNetwork(random_unet(params)), params.seed, params.weights, beside=DECODER,
            remark=random_weights(params), classes=params.classes,
        )  # fmt: skip


class EncoderNetwork(nn.Module):
    """The encoder of a U-Net and the head that classifies its deepest features, under their names there."""

    def __init__(self, unet: Any):
        super().__init__()
        self.encoder: nn.Module = unet.encoder
        self.classification_head: nn.Module = unet.classification_head

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → logits (n, class)."""
        logits: Tensor = self.classification_head(self.encoder(images)[-1])
        return logits
