"""The methods of Van Craenendonck et al. 2020 share their passes on one image: each pass is taken once."""

from collections import Counter
from itertools import chain

import torch

from heatproof.batch import Batch
from heatproof.network.views import View
from heatproof.passes import gradients, logits
from heatproof.plan.plan import Combination
from heatproof.plan.task import Source
from heatproof.records import Verdict
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Blobs, Residual
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_costs.estimate import passes
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.input_x_gradient import InputXGradient
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp
from heatproof_shared_passes.rectified import rectified
from heatproof_smoothgrad.noise import noise_moments
from heatproof_smoothgrad.smoothgrad import SmoothGrad
from heatproof_smoothgrad.smoothgrad_squared import SmoothGradSquared
from heatproof_smoothgrad.vargrad import VarGrad

COMPOSITES = (
    "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat", "epsilon_alpha2_beta1_flat", "excitation_backprop",
)  # fmt: skip
METHODS = (
    Gradient(), InputXGradient(), IntegratedGradients(steps=50), GuidedBackprop(), DeconvNet(),
    SmoothGrad(samples=50), SmoothGradSquared(samples=50), VarGrad(samples=50), GradCam(layer="all"),
    *(Lrp(composite=name) for name in COMPOSITES),
)  # fmt: skip


def expanded(model):
    """The explainers of all methods on a model."""
    return list(chain.from_iterable(method.expand(model) for method in METHODS))


def count_passes(monkeypatch, predicted):
    """Count forwards with and without gradient, backwards, and images through the first layer alone."""
    counts = Counter()
    forward = View.__call__
    backward = torch.autograd.grad

    def counted_forward(view, images, *arguments, **settings):
        if len(view.module.graph.nodes) < 5:
            counts["first layer"] += len(images)
        elif view.module is predicted.view.module and not images.requires_grad:
            counts["without"] += 1
        else:
            counts["passes"] += 1
        return forward(view, images, *arguments, **settings)

    def counted_backward(*arguments, **settings):
        counts["backward"] += not counts["inside"]  # Zennit's rules take gradients of single layers within a backward
        counts["inside"] += 1
        try:
            return backward(*arguments, **settings)
        finally:
            counts["inside"] -= 1

    monkeypatch.setattr(View, "__call__", counted_forward)
    monkeypatch.setattr(torch.autograd, "grad", counted_backward)
    return counts


def test_the_methods_take_the_necessary_passes_and_no_more(monkeypatch):
    """106 of both kinds: 1 for gradient, image x gradient and all Grad-CAM; 50 of the path; 50 noisy; 3 of LRP.

    Guided backpropagation and DeconvNet take 2 backwards of 1 forward, and the baseline of the path takes a forward
    without gradient. The prediction of the image is one forward more. Two of the five composites differ from others
    only in the first layer, which is passed for each of them.
    """
    model = in_float64(Residual())
    explainers = expanded(model)
    requests = list(chain.from_iterable(explainer.requests(model) for explainer in explainers))
    assert len(explainers) == 8 + 5 + len(model.layers())
    image = torch.from_numpy(model.samples(4)[0].image)[None].double()
    predicted = Batch(model, ["a"], image, [0], layers=model.layers(), requests=requests)
    assert isinstance(predicted.view, View)
    counts = count_passes(monkeypatch, predicted)
    logits(predicted)
    batch = predicted.at(targets=[1])
    for explainer in explainers:
        explainer(batch)
    assert counts["first layer"] == 5
    assert counts["backward"] - counts["first layer"] == 1 + 50 + 50 + 2 + 3 == 106
    assert counts["passes"] == 1 + 50 + 50 + 1 + 3
    assert counts["without"] == 1 + 1
    assert counts["passes"] + counts["without"] - 1 == 106


def test_the_estimate_before_a_run_is_what_is_taken():
    model = Residual()
    source = Source(Blobs(), "test", ())
    combinations = [
        Combination(
            source, model, "predicted", explainer, "max", 0, Verdict("exact"),
            layers=tuple(explainer.layers(model)), requests=tuple(explainer.requests(model)),
        )
        for explainer in expanded(model)
    ]  # fmt: skip
    assert passes(combinations, (32, 32)) == (106, 106)


def test_what_is_not_planned_takes_passes_for_itself_and_no_more(passed):
    """Without a plan: 1 pass for gradient, image x gradient and every Grad-CAM; 50 noisy; 2 rectified."""
    model = in_float64(Residual())
    image = torch.from_numpy(model.samples(1)[0].image)[None].double()
    batch = Batch(model, ["a"], image, [0], layers=model.layers())
    counts = passed(batch)
    logits(batch)
    assert counts.pop("forward") == 1
    gradients(batch)
    noise_moments(batch, 50, 0.15)
    rectified(batch, "guided")
    rectified(batch, "deconv")
    assert counts == {"forward": 1 + 50 + 2, "backward": 1 + 50 + 2}
    logits(batch.at(targets=[1]))
    assert counts == {"forward": 53, "backward": 53}
