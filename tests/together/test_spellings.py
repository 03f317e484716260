"""A ReLU that is spelt by other operations has the maps, layers and verdicts of ``nn.ReLU`` under every method."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.testing.toys import drawn
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.deeplift import DeepLift
from heatproof_lrp.lrp import Lrp
from heatproof_perturbation.occlusion import Occlusion

EXPLAINERS = (
    Lrp(preset="epsilon"), Lrp(composite="epsilon_plus"), DeepLift(), GradCam(), Occlusion(patch=4, stride=4),
)  # fmt: skip
SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda x: x.clamp(min=0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "mask": lambda x: x * (x > 0),
    "where": lambda x: torch.where(x >= 0, x, 0),
}


class Net(nn.Module):
    """Two convolutions with BatchNorm, each followed by a ReLU."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.last = nn.Conv2d(5, 6, 3)
        self.head = nn.Linear(6, 3)
        self.relu = relu

    def forward(self, images: Tensor) -> Tensor:
        values = self.relu(self.norm(self.first(images)))
        return self.head(self.relu(self.last(values)).mean((2, 3)))


def explained(relu: Callable[[Tensor], Tensor], explainer: Explainer) -> tuple[str, Tensor]:
    """The verdict and the maps of a network with this ReLU."""
    model = Model.of(drawn(Net(relu), 0).double().eval(), "abc")
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = Batch(model, ["a", "b"], images, [0, 1], layers=explainer.layers(model))
    return explainer.verdict(model).level, explainer(batch).values


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda explainer: type(explainer).__name__)
def test_a_spelling_is_a_relu(name: str, explainer: Explainer):
    level, values = explained(SPELLINGS[name], explainer)
    expected_level, expected = explained(nn.ReLU(), explainer)
    assert level == expected_level == "exact"
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-14)
