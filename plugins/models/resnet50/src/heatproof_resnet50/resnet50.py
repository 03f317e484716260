"""ResNet50 with one ordinal output."""

from typing import Any

from torch import nn

from heatproof_fundus.grader import BackboneParams, Grader, of_width

FEATURES = 2048


class ResNet50(Grader[BackboneParams]):
    """Grades diabetic retinopathy with a residual network of 50 layers (He et al. 2016).

    The backbone is torchvision's, with the stride in the 3 × 3 convolutions. At 448 pixels its last map has 14 × 14
    cells.
    """

    head_name = "fc"
    replaced = ("fc.",)

    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network, which has 2048 features, or the share of it that ``width`` names."""
        from torchvision.models import resnet50

        return of_width(lambda: resnet50(weights=None), FEATURES, self.params.width)

    def imagenet(self) -> Any:
        """Name the weights IMAGENET1K_V2, 98 MB."""
        from torchvision.models import ResNet50_Weights

        return ResNet50_Weights.IMAGENET1K_V2
