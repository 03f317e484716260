"""InceptionV3 with one ordinal output."""

from typing import Any

from torch import nn

from heatproof_fundus.grader import Grader, initialised


class InceptionV3(Grader):
    """Blocks of parallel convolutions of several sizes (Szegedy et al. 2016) that grade diabetic retinopathy.

    The backbone is torchvision's without its auxiliary output, its dropout before the head, and the change of input
    units that its ImageNet weights need for other preparations: prepared images are in -1…1, as these weights expect.
    At 448 pixels its last map has 12 × 12 cells.
    """

    place = "fc"
    replaced = ("fc.", "AuxLogits.")

    def backbone(self) -> tuple[nn.Module, int]:
        """Torchvision's network; 2048 features."""
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
        network.dropout = nn.Identity()
        return initialised(network), 2048

    def imagenet(self) -> Any:
        """IMAGENET1K_V1, 104 MB."""
        from torchvision.models import Inception_V3_Weights

        return Inception_V3_Weights.IMAGENET1K_V1
