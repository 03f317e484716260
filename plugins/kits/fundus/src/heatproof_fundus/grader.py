"""Base classes of networks that grade diabetic retinopathy: published ones of torchvision, with one output."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from pickle import UnpicklingError
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn
from typing_extensions import TypeVar

from heatproof.component import Location, Params, Seed
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_checkpoints.initial import drawn, with_weights
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


def _distinct(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names is not None and len(set(names)) < len(names):
        raise ValueError("a finding is named twice; name each finding once")
    return names


class BackboneParams(GraderParams):
    """Adds ``width``, the share of the channels of all convolutions that the network has, and ``findings``.

    A narrower network trains on a processor; its head is unchanged. The weights of torchvision fit ``width: 1`` only.
    With ``findings`` the network has a sigmoid output for each of them, in this order, in place of the grade: whether
    the photograph shows it.
    """

    width: Annotated[float, Field(gt=0, le=1)] = 1.0
    findings: Annotated[tuple[str, ...] | None, Field(min_length=2), AfterValidator(_distinct)] = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights == "torchvision" and self.width != 1:
            raise ValueError(f"the weights of torchvision fit width: 1 only, not {self.width:g}; leave out one of both")
        return self


P = TypeVar("P", bound=GraderParams, default=GraderParams, covariant=True)


class PublishedGrader(Model[P]):
    """A network that torchvision has, with another output, so that its weights of ImageNet fit but for the output.

    A subclass implements ``architecture`` and ``imagenet``, and names what is ``replaced``.
    """

    classes: tuple[str, ...] = ("no_dr", "mild", "moderate", "severe", "proliferative")
    replaced: ClassVar[tuple[str, ...]]
    """Prefixes of the names of torchvision's weights that are not loaded, such as those of its classifier."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=self.params.size, channels=3, centre=self.params.centre)

    @abstractmethod
    def architecture(self) -> nn.Module:
        """Build the network: images (n, 3, size, size) → logits (n, output), with weights of torch's generator."""
        raise NotImplementedError

    @abstractmethod
    def imagenet(self) -> Any:
        """Return torchvision's weights for the network: a member of a ``WeightsEnum``."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """Images (n, 3, size, size) → logits (n, output); raises ``ModelError`` where the weights cannot be loaded."""
        params = self.params
        if params.weights == "torchvision":
            return self._with_imagenet(drawn(self.architecture, params.seed))
        return with_weights(self.short, self.architecture, params.seed, params.weights, classes=self.classes)

    def _with_imagenet(self, network: nn.Module) -> nn.Module:
        """Load torchvision's weights, from torch's cache or by download; what is replaced stays unchanged."""
        weights = self.imagenet()
        cached = f"{torch.hub.get_dir()}/checkpoints/{weights.url.rpartition('/')[2]}"
        try:
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(self._joined(network, state))
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self.short}: torchvision's ImageNet weights cannot be loaded ({reason}); download {weights.url} "
                f"by hand and save it as {cached}, or set weights to the path of a checkpoint."
            ) from error
        return network

    def _joined(self, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join the weights of torchvision that are not replaced and those of the network in their place."""
        published = {name: value for name, value in state.items() if not name.startswith(self.replaced)}
        replacement = {name: value for name, value in network.state_dict().items() if name.startswith(self.replaced)}
        return published | replacement


B = TypeVar("B", bound=BackboneParams, default=BackboneParams, covariant=True)


class Grader(PublishedGrader[B]):
    """A backbone, global average pooling, and a head with one ordinal output, or one sigmoid output per finding.

    The head has two dense layers (512 and 128 units) with ReLU and dropout (0.5), then one unit; its sigmoid is
    grade / 4 (Van Craenendonck et al. 2020, "Systematic comparison of heatmapping techniques in deep learning in the
    context of diabetic retinopathy lesion detection"; the paper does not state widths and rates). A subclass implements
    ``backbone`` and ``imagenet``, and names the module of its head.
    """

    head_name: ClassVar[str]
    """The name of the head's module in the network; it is among what is ``replaced``."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.head = "ordinal"
        if self.params.findings is not None:
            self.classes = self.params.findings
            self.head = "sigmoid"

    @abstractmethod
    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network, with random weights and global average pooling, and return its feature count."""
        raise NotImplementedError

    def architecture(self) -> nn.Module:
        """Build the backbone with the head."""
        network, features = self.backbone()
        outputs = 1 if self.params.findings is None else len(self.params.findings)
        setattr(network, self.head_name, dense_head(features, outputs))
        return network


def initialised(network: nn.Module) -> nn.Module:
    """Draw the weights of convolutions for ReLU (He et al. 2015), as torchvision does for VGG and ResNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def of_width(build: Callable[[], nn.Module], features: int, width: float) -> tuple[nn.Module, int]:
    """Build a network that has this number of features, or the share ``width`` of it; return it and its features."""
    if width == 1:
        return build(), features
    with torch.device("meta"):  # without weights: all of them are replaced
        network = build()
    return narrowed(network, width), scaled(features, width)


def narrowed(network: nn.Module, share: float, channels: int = 3) -> nn.Module:
    """Replace all convolutions and BatchNorms by ones with a share of the channels, with random weights.

    ``channels`` are those of the images, which stay. Names are unchanged. The weights of convolutions are drawn as
    ``initialised`` does, as fits VGG and ResNet; a dense layer keeps its width. Raises ``ModelError`` for groups.
    """
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            if module.groups > 1:
                raise ModelError(f"{path} has {module.groups} groups of channels, which cannot be narrowed by a share.")
            inputs = channels if module.in_channels == channels else scaled(module.in_channels, share)
            outputs = scaled(module.out_channels, share)
            kernel: Any = {name: getattr(module, name) for name in ("kernel_size", "stride", "padding", "dilation")}
            network.set_submodule(path, nn.Conv2d(inputs, outputs, bias=module.bias is not None, **kernel))
        elif isinstance(module, nn.BatchNorm2d):
            norm = nn.BatchNorm2d(scaled(module.num_features, share), eps=module.eps, momentum=module.momentum)
            network.set_submodule(path, norm)
    return initialised(network)


def scaled(channels: int, share: float) -> int:
    """Return a share of a number of channels, at least one.

    >>> scaled(64, 0.25), scaled(64, 0.001)
    (16, 1)
    """
    return max(1, round(channels * share))


def dense_head(features: int, outputs: int) -> nn.Sequential:
    """Build the head: (n, features) → logits (n, outputs)."""
    layers: list[nn.Module] = []
    for inputs, units in pairwise((features, *WIDTHS)):
        layers += [nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], outputs))
