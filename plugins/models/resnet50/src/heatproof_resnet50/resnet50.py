"""ResNet50 with one ordinal output."""

from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from heatproof_fundus.grader import Grader, GraderParams, narrowed, scaled

FEATURES = 2048


class ResNet50Params(GraderParams):
    """Adds ``width``, the share of the channels of all convolutions that the network has; the head is unchanged.

    A narrower network trains on a processor. The weights of torchvision fit ``width: 1`` only.
    """

    width: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights == "torchvision" and self.width != 1:
            raise ValueError(f"the weights of torchvision fit width: 1 only, not {self.width:g}; leave out one of both")
        return self


class ResNet50(Grader[ResNet50Params]):
    """Grades diabetic retinopathy with a residual network of 50 layers (He et al. 2016).

    The backbone is torchvision's, with the stride in the 3 × 3 convolutions. At 448 pixels its last map has 14 × 14
    cells.
    """

    head_name = "fc"
    replaced = ("fc.",)

    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network, which has 2048 features, or the share of it that ``width`` names."""
        from torchvision.models import resnet50

        if self.params.width == 1:
            return resnet50(weights=None), FEATURES
        with torch.device("meta"):  # without weights: all of them are replaced
            network = resnet50(weights=None)
        return narrowed(network, self.params.width), scaled(FEATURES, self.params.width)

    def imagenet(self) -> Any:
        """Name the weights IMAGENET1K_V2, 98 MB."""
        from torchvision.models import ResNet50_Weights

        return ResNet50_Weights.IMAGENET1K_V2
