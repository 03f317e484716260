"""VGG16 with one ordinal output."""

from collections import OrderedDict
from typing import Any

from torch import nn

from heatproof_fundus.grader import BackboneParams, Grader, initialised, of_width

FEATURES = 512


class VGG16(Grader[BackboneParams]):
    """Grades diabetic retinopathy with 13 convolutions without normalisation (Simonyan and Zisserman 2015).

    The backbone is torchvision's ``features``; global average pooling replaces the three dense layers. At 448 pixels
    the last convolution has 28 × 28 cells, 14 × 14 after its pooling.
    """

    head_name = "classifier"
    replaced = ("classifier.",)

    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's convolutions and an average over the whole map, which has 512 features or their share."""
        from torchvision.models.vgg import cfgs, make_layers

        features, count = of_width(lambda: initialised(make_layers(cfgs["D"])), FEATURES, self.params.width)
        parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
        return nn.Sequential(parts), count

    def imagenet(self) -> Any:
        """Name the weights IMAGENET1K_V1, 528 MB."""
        from torchvision.models import VGG16_Weights

        return VGG16_Weights.IMAGENET1K_V1
