"""One sigmoid unit for two classes is explained as a network with a unit of opposite sign for the first class."""

import pytest
import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation
from heatproof.testing.toys import drawn
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.cam import Cam
from heatproof_cam.gradcam import GradCam
from heatproof_cam.gradcam_plus_plus import GradCamPlusPlus
from heatproof_cam.guided_gradcam import GuidedGradCam
from heatproof_cam.respond_cam import RespondCam
from heatproof_clear.clear import Clear
from heatproof_gradient.deeplift import DeepLift
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.input_x_gradient import InputXGradient
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp
from heatproof_perturbation.lime import Lime
from heatproof_perturbation.occlusion import Occlusion
from heatproof_smoothgrad.smoothgrad import SmoothGrad

CLASSES = ("healthy", "ill")
EXPLAINERS = (
    Gradient(), InputXGradient(), IntegratedGradients(steps=4), DeepLift(), GuidedBackprop(), DeconvNet(),
    SmoothGrad(samples=3), Cam(), GradCam(), GradCamPlusPlus(), GuidedGradCam(), RespondCam(), Clear(),
    Clear(map="class"), Occlusion(patch=4, stride=4), Lime(samples=20, compactness=1e4, off="zero"),
)  # fmt: skip
IMAGES = torch.randn(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def explained(explainer: Explainer, opposed: bool) -> list[Explanation]:
    """The explanations of both classes, by one unit, or by a second unit that is minus the first."""
    trunk = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = drawn(nn.Sequential(*trunk, nn.Linear(5, 1)), 0).double().eval()
    if opposed:
        unit = network[-1]
        network[-1] = nn.Linear(5, 2).double()
        network[-1].weight.data = torch.cat([-unit.weight.data, unit.weight.data])
        network[-1].bias.data = torch.cat([-unit.bias.data, unit.bias.data])
    model = Model.of(network, CLASSES, head="sigmoid")
    batch = Batch(model, ["a", "b"], IMAGES, [0, 0], layers=explainer.layers(model))
    return [explainer(batch.at(targets=[target] * 2)) for target in range(2)]


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda explainer: type(explainer).__name__)
def test_either_class_has_the_map_of_two_units(explainer: Explainer):
    for shared, separate in zip(explained(explainer, False), explained(explainer, True)):
        torch.testing.assert_close(shared.values, separate.values, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("start", ["one", "score"])
@pytest.mark.parametrize("preset", ["epsilon", "sequential_preset_a"])
def test_relevance_of_the_first_class_has_the_opposite_sign(preset: str, start: str):
    """Relevance starts with the sign of the unit: a start of 1 at minus the unit would give both classes one map."""
    first, second = explained(Lrp(preset=preset, start=start), False)
    torch.testing.assert_close(first.values, -second.values, rtol=1e-12, atol=1e-14)
    assert first.values.abs().amax() > 1e-6
    assert first.notes["relevance_share"] == pytest.approx(second.notes["relevance_share"])


def test_relevance_that_starts_as_the_score_is_that_of_two_units():
    explainer = Lrp(preset="epsilon", start="score")
    for shared, separate in zip(explained(explainer, False), explained(explainer, True)):
        torch.testing.assert_close(shared.values, separate.values, rtol=1e-6, atol=1e-9)
