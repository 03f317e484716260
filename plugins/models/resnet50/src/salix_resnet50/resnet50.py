"""ResNet50 with one ordinal output."""

from itertools import pairwise
from pickle import UnpicklingError
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from salix.component import Location, Params
from salix.errors import ModelError
from salix.model import Model, load_weights
from salix.transforms import Fundus

WIDTHS = (2048, 512, 128)
DROPOUT = 0.5
FINAL = ("fc.weight", "fc.bias")
"""What torchvision's network has in place of the head."""


class ResNet50Params(Params):
    """Where the weights come from, the seed of those drawn at random, and the size of the canvas in pixels.

    ``weights``: the path of a checkpoint of the whole network; ``torchvision`` for a backbone trained on ImageNet
    under a random head; none for random weights throughout.
    """

    weights: Annotated[Literal["torchvision"] | Location | None, Field(union_mode="left_to_right")] = None
    seed: int = Field(default=0, ge=0)
    size: PositiveInt = 448


class ResNet50(Model):
    """A residual network of 50 layers (He et al. 2016) that grades diabetic retinopathy.

    Global average pooling, then twice dense, ReLU and dropout (512 and 128 units, 0.5), then one unit whose sigmoid
    is the grade / 4 (Van Craenendonck et al. 2020, "Systematic comparison of heatmapping techniques in deep learning in
    the context of diabetic retinopathy lesion detection"; widths and rates are not given there). The backbone is
    torchvision's, with the stride in the 3 × 3 convolutions; at 448 pixels its last map has 14 × 14 cells.
    """

    Params = ResNet50Params
    params: ResNet50Params
    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    head = "ordinal"

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=self.params.size)

    def build(self) -> nn.Module:
        """Images (n, 3, size, size) → logits (n, 1); raises ``ModelError`` when the weights cannot be had."""
        network, weights = _random(self.params.seed), self.params.weights
        if weights is None:
            return network
        return _imagenet(network) if weights == "torchvision" else load_weights(network, weights)


def _random(seed: int) -> nn.Module:
    """The network with weights drawn from ``seed``; no other generator moves."""
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = resnet50(weights=None)
        network.fc = _head()
    return network


def _head() -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, width in pairwise(WIDTHS):
        layers += [nn.Linear(channels, width), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))


def _imagenet(network: nn.Module) -> nn.Module:
    """The network with torchvision's ImageNet backbone, from its cache or downloaded, under the head it has."""
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.IMAGENET1K_V2
    head = {name: value for name, value in network.state_dict().items() if name.startswith("fc.")}
    cached = f"{torch.hub.get_dir()}/checkpoints/{weights.url.rpartition('/')[2]}"
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        network.load_state_dict({name: value for name, value in state.items() if name not in FINAL} | head)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"resnet50: torchvision's ImageNet weights cannot be loaded ({reason}); download {weights.url} elsewhere "
            f"and put it at {cached}, or give a checkpoint of your own as weights: PATH."
        ) from error
    return network
