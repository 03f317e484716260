"""InceptionV3 with one ordinal output."""

from typing import Any

from torch import nn

from heatproof_fundus.grader import BackboneParams, Grader, initialised, of_width

FEATURES = 2048


class InceptionV3(Grader[BackboneParams]):
    """Grades diabetic retinopathy with blocks of parallel convolutions of several sizes (Szegedy et al. 2016).

    The backbone is torchvision's without its auxiliary output, its dropout before the head, and its change of input
    units: prepared images are in -1 … 1, as its ImageNet weights expect. At 448 pixels its last map has 12 × 12 cells.
    """

    head_name = "fc"
    replaced = ("fc.", "AuxLogits.")

    def backbone(self) -> tuple[nn.Module, int]:
        """Build torchvision's network, which has 2048 features, or the share of it that ``width`` names."""
        return of_width(_network, FEATURES, self.params.width)

    def imagenet(self) -> Any:
        """Name the weights IMAGENET1K_V1, 104 MB."""
        from torchvision.models import Inception_V3_Weights

        return Inception_V3_Weights.IMAGENET1K_V1


def _network() -> nn.Module:
    """Torchvision's network with random weights, without auxiliary output, dropout and change of input units."""
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
    network.dropout = nn.Identity()
    return initialised(network)
