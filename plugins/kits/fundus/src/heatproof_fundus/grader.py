"""The base class of networks that grade diabetic retinopathy: a published backbone with one ordinal output."""

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from pickle import UnpicklingError
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from heatproof.component import Location, Params, Seed
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_checkpoints.checkpoint import load_weights
from heatproof_fundus.photograph import Centre, Fundus

WIDTHS = (512, 128)
"""Units of the head's hidden layers."""
DROPOUT = 0.5


class GraderParams(Params):
    """The source of the weights, the seed of random weights, and the side and centre of the prepared image.

    ``weights``: the path of a checkpoint of the whole network, or ``torchvision`` for a backbone trained on ImageNet
    with a random head; without it, all weights are random. ``size`` is in pixels. ``centre`` of the prepared image is
    the middle of the field of view, or that of the photograph (``picture``) as in published code.
    """

    weights: Annotated[Literal["torchvision"] | Location | None, Field(union_mode="left_to_right")] = None
    seed: Seed = 0
    size: int = Field(default=448, ge=1, le=10_000)
    centre: Centre = "field"


class Grader(Model[GraderParams]):
    """A backbone, global average pooling, and a head with one ordinal output.

    The head has two dense layers (512 and 128 units) with ReLU and dropout (0.5), then one unit; its sigmoid is
    grade / 4 (Van Craenendonck et al. 2020, "Systematic comparison of heatmapping techniques in deep learning in the
    context of diabetic retinopathy lesion detection"; the paper does not state widths and rates). A subclass implements
    ``backbone`` and ``imagenet``, and names the module of its head.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    head = "ordinal"
    head_name: ClassVar[str]
    """The name of the head's module in the network."""
    replaced: ClassVar[tuple[str, ...]]
    """Prefixes of the names of torchvision's weights that are not loaded, such as those of its classifier."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=self.params.size, channels=3, centre=self.params.centre)

    @abstractmethod
    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network, with random weights and global average pooling, and return its feature count."""
        raise NotImplementedError

    @abstractmethod
    def imagenet(self) -> Any:
        """Return torchvision's weights for the backbone: a member of a ``WeightsEnum``."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """Images (n, 3, size, size) → logits (n, 1); raises ``ModelError`` where the weights cannot be loaded."""
        network = self._random_network()
        weights = self.params.weights
        if weights is None:
            return network
        if weights == "torchvision":
            return self._with_imagenet(network)
        return load_weights(network, weights)

    def _random_network(self) -> nn.Module:
        """Build the network with weights drawn from the seed; the state of torch's random generator stays the same."""
        with torch.random.fork_rng():
            torch.manual_seed(self.params.seed)
            network, features = self.backbone()
            setattr(network, self.head_name, ordinal_head(features))
        return network

    def _with_imagenet(self, network: nn.Module) -> nn.Module:
        """Load torchvision's weights into the backbone, from torch's cache or by download; the head is unchanged."""
        weights = self.imagenet()
        cached = f"{torch.hub.get_dir()}/checkpoints/{weights.url.rpartition('/')[2]}"
        try:
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(self._with_head(network, state))
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self.short}: torchvision's ImageNet weights cannot be loaded ({reason}); download {weights.url} "
                f"by hand and save it as {cached}, or set weights to the path of a checkpoint."
            ) from error
        return network

    def _with_head(self, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join the weights of torchvision that are not replaced and those of the network's head."""
        backbone = {name: value for name, value in state.items() if not name.startswith(self.replaced)}
        head = {name: value for name, value in network.state_dict().items() if name.startswith(f"{self.head_name}.")}
        return backbone | head


def initialised(network: nn.Module) -> nn.Module:
    """Draw the weights of convolutions for ReLU (He et al. 2015), as torchvision does for VGG and ResNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def ordinal_head(features: int) -> nn.Sequential:
    """Build the head: (n, features) → logits (n, 1)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((features, *WIDTHS)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))
