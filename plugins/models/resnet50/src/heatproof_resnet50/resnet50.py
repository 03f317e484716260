"""ResNet50 with one ordinal output."""

from typing import Any

from torch import nn

from heatproof_fundus.grader import Grader


class ResNet50(Grader):
    """A residual network of 50 layers (He et al. 2016) that grades diabetic retinopathy.

    The backbone is torchvision's, with the stride in the 3 × 3 convolutions; at 448 pixels its last map has 14 × 14
    cells.
    """

    place = "fc"
    replaced = ("fc.",)

    def backbone(self) -> tuple[nn.Module, int]:
        """Torchvision's network; 2048 features."""
        from torchvision.models import resnet50

        return resnet50(weights=None), 2048

    def imagenet(self) -> Any:
        """IMAGENET1K_V2, 98 MB."""
        from torchvision.models import ResNet50_Weights

        return ResNet50_Weights.IMAGENET1K_V2
