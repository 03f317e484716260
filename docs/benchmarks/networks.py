"""The networks of Van Craenendonck et al. 2020 with random weights, and random images, for the other benchmarks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.model import Model
from heatproof_inceptionv3.inceptionv3 import InceptionV3
from heatproof_resnet50.resnet50 import ResNet50
from heatproof_vgg16.vgg16 import VGG16

NETWORKS: Mapping[str, type[Model]] = {"vgg16": VGG16, "resnet50": ResNet50, "inceptionv3": InceptionV3}


def calibrated(name: str, size: int) -> nn.Module:
    """A network with random weights and the BatchNorm statistics of random images."""
    network = NETWORKS[name](size=size).build().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(random_images(4, 224))
    return network.eval()


def random_images(count: int, size: int) -> Tensor:
    """Smooth random images in [-1, 1]."""
    coarse = torch.rand(count, 3, size // 16, size // 16, generator=torch.Generator().manual_seed(1))
    return 2 * functional.interpolate(coarse, size=size, mode="bilinear") - 1
