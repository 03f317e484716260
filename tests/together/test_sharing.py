"""The methods of paper 000 on one image share their passes: what each pass costs is paid once."""

from collections import Counter

import torch

from salix.batch import Batch
from salix.canonical import View
from salix.estimate import passes
from salix.passes import logits
from salix.plan import Combination
from salix.records import Verdict
from salix.task import Source
from salix.testing.bench import in_float64
from salix.testing.toys import Blobs, Residual
from salix_backprop.deconvnet import DeconvNet
from salix_backprop.guided_backprop import GuidedBackprop
from salix_cam.gradcam import GradCam
from salix_gradient.gradient import Gradient
from salix_gradient.input_x_gradient import InputXGradient
from salix_gradient.integrated_gradients import IntegratedGradients
from salix_smoothgrad.smoothgrad import SmoothGrad
from salix_smoothgrad.smoothgrad_squared import SmoothGradSquared
from salix_smoothgrad.vargrad import VarGrad

METHODS = (
    Gradient(), InputXGradient(), IntegratedGradients(), GuidedBackprop(), DeconvNet(),
    SmoothGrad(samples=50), SmoothGradSquared(samples=50), VarGrad(samples=50), GradCam(layer="all"),
)  # fmt: skip


def test_gradient_passes_are_the_necessary_ones(monkeypatch):
    """1 for gradient, image x gradient and all Grad-CAM; 64 of the path; 50 noisy for three; 2 rectified of 1 forward.

    Besides them the score of the image, which its prediction gives, and of the baseline: forwards without gradient.
    """
    counts = Counter()
    model, forward, backward = in_float64(Residual()), View.__call__, torch.autograd.grad
    explainers = [explainer for method in METHODS for explainer in method.expand(model)]
    rules = [rule for explainer in explainers for rule in explainer.rules(model)]
    assert len(explainers) == 8 + len(model.layers())
    image = torch.from_numpy(model.pictures(4)[0].image)[None].double()
    predicted = Batch(model, ["a"], image, [0], layers=model.layers(), rules=rules)
    assert isinstance(predicted.view, View)

    def counted_forward(view, images, *rest, **settings):
        counts["with gradient" if images.requires_grad else "without"] += len(images)
        return forward(view, images, *rest, **settings)

    def counted_backward(*arguments, **settings):
        counts["backward"] += 1
        return backward(*arguments, **settings)

    monkeypatch.setattr(View, "__call__", counted_forward)
    monkeypatch.setattr(torch.autograd, "grad", counted_backward)
    logits(predicted)
    batch = predicted.at(targets=[1])
    for explainer in explainers:
        explainer(batch)
    assert counts == {"with gradient": 1 + 64 + 50 + 1, "backward": 1 + 64 + 50 + 2, "without": 1 + 1}


def test_the_estimate_before_a_run_is_what_is_taken():
    model, source = Residual(), Source(Blobs(), "test", ())
    explainers = [explainer for method in METHODS for explainer in method.expand(model)]
    combinations = [
        Combination(source, model, "predicted", explainer, "max", 0, Verdict("exact")) for explainer in explainers
    ]
    assert passes(combinations, (32, 32)) == (116 + 1, 117)
