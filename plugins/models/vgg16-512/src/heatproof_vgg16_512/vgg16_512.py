"""VGG16 for photographs of 512 × 512 pixels, with one regression output."""

from collections import OrderedDict
from typing import Any

from pydantic import Field
from torch import nn

from heatproof.errors import ModelError
from heatproof_fundus.grader import DROPOUT, GraderParams, PublishedGrader, initialised
from heatproof_fundus.photograph import Fundus

CELLS = 7
"""The side of the last map at 512 pixels, which is that of ImageNet's VGG16 at 224."""
CONV1_1 = 0
CONV5_1 = 24
"""The positions of two convolutions among torchvision's ``features``."""
SMALLEST = 128
"""The side of images, in pixels, below which nothing is left to pool after conv5_1."""
UNITS = 4096
SPREAD = 0.01
"""The standard deviation of the random weights of dense layers, as torchvision draws them for VGG."""


class VGG16At512Params(GraderParams):
    """The settings of a grader, at 512 pixels by default, and the units of the two dense layers, ``width``.

    ``weights: torchvision`` is a network trained on ImageNet, with both dense layers and a random output; it needs the
    published ``width`` of 4096.
    """

    size: int = Field(default=512, ge=SMALLEST, le=10_000)
    width: int = Field(default=UNITS, ge=1, le=UNITS)


class VGG16At512(PublishedGrader[VGG16At512Params]):
    """Grades diabetic retinopathy by regression, with a VGG16 that is changed for larger photographs.

    The first convolution has stride 2, and conv5_1 no padding, so that 512 × 512 pixels become 7 × 7 cells with 25,088
    features (González-Gonzalo et al. 2018, "Improving weakly-supervised lesion localization with iterative saliency map
    refinement"). That is the input of the dense layers of VGG16 (Simonyan and Zisserman 2015), whose weights of
    ImageNet fit. One linear node replaces the 1000 classes. At other sizes, torchvision's adaptive pooling makes 7 × 7
    cells of the last map.
    """

    head = "regression"
    replaced = ("classifier.6.",)

    def __init__(self, **params: Any):
        super().__init__(**params)
        size = self.params.size
        self.preparation = Fundus(size=size, channels=3, centre=self.params.centre, graham=False, field_share=1.0)

    def architecture(self) -> nn.Module:
        """Build torchvision's layers under its names, with the changes for 512 pixels."""
        from torchvision.models.vgg import cfgs, make_layers

        features = make_layers(cfgs["D"])
        features[CONV1_1] = _changed(features[CONV1_1], stride=2, padding=1)
        features[CONV5_1] = _changed(features[CONV5_1], stride=1, padding=0)
        channels = cfgs["D"][-2]
        return nn.Sequential(
            OrderedDict(
                features=initialised(features),
                avgpool=nn.AdaptiveAvgPool2d(CELLS),
                flatten=nn.Flatten(),
                classifier=_dense(int(channels) * CELLS * CELLS, self.params.width),
            )
        )

    def imagenet(self) -> Any:
        """Name the weights IMAGENET1K_V1, 528 MB; raises ``ModelError`` for another width of the dense layers."""
        from torchvision.models import VGG16_Weights

        if self.params.width != UNITS:
            raise ModelError(
                f"{self.short}: torchvision's ImageNet weights have dense layers of {UNITS} units, the network "
                f"{self.params.width}; set width to {UNITS}, or weights to the path of a checkpoint."
            )
        return VGG16_Weights.IMAGENET1K_V1


def _changed(convolution: Any, stride: int, padding: int) -> nn.Conv2d:
    """Build a convolution like another with another stride and padding."""
    channels = (convolution.in_channels, convolution.out_channels)
    return nn.Conv2d(*channels, convolution.kernel_size, stride=stride, padding=padding)


def _dense(features: int, width: int) -> nn.Sequential:
    """Build the dense layers: (n, features) → (n, 1)."""
    layers: list[nn.Module] = []
    for inputs in (features, width):
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(DROPOUT)]
    head = nn.Sequential(*layers, nn.Linear(width, 1))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, SPREAD)
            nn.init.zeros_(layer.bias)
    return head
