"""The base class of networks that grade diabetic retinopathy: a published backbone with one ordinal output."""

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from pickle import UnpicklingError
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from heatproof.component import Location, Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_checkpoints.checkpoint import load_weights
from heatproof_fundus.photograph import Fundus

WIDTHS = (512, 128)
DROPOUT = 0.5


class GraderParams(Params):
    """The source of the weights, the seed of random weights, and the size of the canvas in pixels.

    ``weights``: the path of a checkpoint of the whole network; ``torchvision`` for a backbone trained on ImageNet
    with a random head; none for random weights throughout.
    """

    weights: Annotated[Literal["torchvision"] | Location | None, Field(union_mode="left_to_right")] = None
    seed: int = Field(default=0, ge=0)
    size: PositiveInt = 448


class Grader(Model[GraderParams]):
    """A backbone, global average pooling, and a head with one ordinal output.

    The head has two dense layers (512 and 128 units) with ReLU and dropout (0.5), then one unit; its sigmoid is
    grade / 4 (Van Craenendonck et al. 2020, "Systematic comparison of heatmapping techniques in deep learning in the
    context of diabetic retinopathy lesion detection"; the paper does not state widths and rates). A subclass gives the
    backbone and torchvision's weights for it; ``replaced`` are the prefixes of torchvision's weights that are not used.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    head = "ordinal"
    head_name: ClassVar[str]
    """The name of the head's module in the network."""
    replaced: ClassVar[tuple[str, ...]]

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=self.params.size, channels=3)

    @abstractmethod
    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network with random weights and global average pooling; also its number of features."""
        raise NotImplementedError

    @abstractmethod
    def imagenet(self) -> Any:
        """Name torchvision's weights for the backbone: a member of a ``WeightsEnum``."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """Images (n, 3, size, size) → logits (n, 1); raises ``ModelError`` where the weights cannot be loaded."""
        network = self._random()
        weights = self.params.weights
        if weights is None:
            return network
        if weights == "torchvision":
            return self._pretrained(network)
        return load_weights(network, weights)

    def _random(self) -> nn.Module:
        """Build the network with weights drawn from the seed; the state of torch's random generator stays the same."""
        with torch.random.fork_rng():
            torch.manual_seed(self.params.seed)
            network, channels = self.backbone()
            setattr(network, self.head_name, ordinal_head(channels))
        return network

    def _pretrained(self, network: nn.Module) -> nn.Module:
        """Load torchvision's ImageNet weights into the backbone, from its cache or by download; the head stays."""
        weights = self.imagenet()
        cached = f"{torch.hub.get_dir()}/checkpoints/{weights.url.rpartition('/')[2]}"
        try:
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(self._with_head(network, state))
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self.short}: torchvision's ImageNet weights cannot be loaded ({reason}); download {weights.url} "
                f"elsewhere and put it at {cached}, or give a checkpoint of your own as weights: PATH."
            ) from error
        return network

    def _with_head(self, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join torchvision's weights, without the parts that are replaced, and the head of the network."""
        head = {name: value for name, value in network.state_dict().items() if name.startswith(f"{self.head_name}.")}
        return {name: value for name, value in state.items() if not name.startswith(self.replaced)} | head


def initialised(network: nn.Module) -> nn.Module:
    """Draw the weights of convolutions for ReLU (He et al. 2015), as torchvision does for VGG and ResNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def ordinal_head(channels: int) -> nn.Sequential:
    """Build the head: features (n, channels) → logits (n, 1)."""
    layers: list[nn.Module] = []
    for before, width in pairwise((channels, *WIDTHS)):
        layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))
