from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof_heatmap_objectives.right_reasons import RightReasons

MASK = np.zeros((6, 6), np.float32)
MASK[2:4, 2:4] = 1
MASK[4, 2] = 0.25


@pytest.fixture
def masked(samples, marked):
    return [marked(sample, ("nodule", MASK)) for sample in samples]


def linear(head: str, classes: str, count: int) -> tuple[Model, nn.Linear]:
    """A model that is linear in images of 6 × 6, and takes those of other sizes."""
    layer = nn.Linear(108, count).double()
    rng = torch.Generator().manual_seed(0)
    layer.weight.data = torch.randn(layer.weight.shape, generator=rng, dtype=torch.float64)
    return Model.of(nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), layer), classes, head=head), layer


@pytest.mark.parametrize(
    ("head", "classes", "count"), [("softmax", "abc", 3), ("sigmoid", "abc", 3), ("sigmoid", "ab", 1)]
)
def test_the_penalty_of_a_linear_network_in_closed_form(masked, step, head, classes, count, base):
    """The gradient of Σ log softmax is Σ_k w_k - K Σ_k p_k w_k; of log p + log (1 - p) of a sigmoid, (1 - 2 p) w."""
    model, layer = linear(head, classes, count)
    record = step(model, masked[:2])
    losses = RightReasons(base=base, finding="nodule", weight=0.5).losses(record)
    logits = record.outputs["logits"].detach().numpy()
    weight = layer.weight.detach().numpy()
    if head == "softmax":
        powers = np.exp(logits)
        slopes = 1 - 3 * powers / powers.sum(1, keepdims=True)
    else:
        slopes = 1 - 2 / (1 + np.exp(-logits))
    outside = (1 - MASK) * (slopes @ weight).reshape(2, 3, 6, 6)
    assert losses["reasons"].item() == pytest.approx((outside**2).sum() / 2, rel=1e-10)
    assert losses["loss"].item() == pytest.approx(losses["base"].item() + 0.5 * losses["reasons"].item(), rel=1e-12)


@pytest.mark.parametrize("name", [None, "plain", "guided"])
def test_the_gradient_agrees_with_finite_differences(unet, masked, step, explainer, slopes, name, base):
    model = unet()
    objective = RightReasons(base=base, finding="nodule", explainer=name and explainer(name))
    objective.require(model)
    length, gap = slopes(model.network, lambda: objective.losses(step(model, masked))["loss"])
    assert length > 0.01
    assert gap <= 1e-6


def test_with_an_explainer_its_explanation_of_the_label_is_penalised(masked, step, explainer, base):
    """That of a linear network is the weight of the label's class."""
    model, layer = linear("softmax", "abc", 3)
    reasons = RightReasons(base=base, finding="nodule", explainer=explainer("plain")).losses(step(model, masked))[
        "reasons"
    ]
    outside = (1 - MASK) * layer.weight.detach().numpy().reshape(3, 3, 6, 6)
    assert reasons.item() == pytest.approx((outside**2).sum() / 3, rel=1e-10)


def test_training_moves_the_reasons_into_the_mask(masked, step, base):
    model, layer = linear("softmax", "abc", 3)
    outside = torch.from_numpy(MASK == 0).expand(3, 3, 6, 6)
    before = layer.weight.reshape(3, 3, 6, 6)[outside].square().sum().item()
    reasons = RightReasons(base=base, finding="nodule").losses(step(model, masked))["reasons"]
    (gradient,) = torch.autograd.grad(reasons, layer.weight)
    with torch.no_grad():
        layer.weight -= 1e-5 * gradient
    after = RightReasons(base=base, finding="nodule").losses(step(model, masked))["reasons"]
    assert after < reasons
    assert layer.weight.reshape(3, 3, 6, 6)[outside].square().sum().item() < before


def test_images_without_a_mask_have_no_penalty_or_are_refused(unet, masked, step, marked, base):
    model = unet()
    empty = marked(masked[1], ("nodule", 0 * MASK))
    unexamined = replace(masked[2], annotations=())
    alone = RightReasons(base=base, finding="nodule").losses(step(model, masked[:1]))["reasons"]
    record = step(model, [masked[0], empty, unexamined])
    skipping = RightReasons(base=base, finding="nodule", unannotated="skip").losses(record)["reasons"]
    assert skipping.item() == pytest.approx(alone.item(), rel=1e-10)
    nobody = RightReasons(base=base, finding="nodule", unannotated="skip").losses(step(model, [unexamined]))
    assert nobody["reasons"].item() == 0
    assert nobody["loss"].item() == nobody["base"].item()
    with pytest.raises(DataError, match="s2 has no annotation of 'nodule'"):
        RightReasons(base=base, finding="nodule").losses(record)


def test_everything_else_is_that_of_the_base(unet, masked, samples, step, base, explainer):
    """Its other losses, its modules and requirements, whether it needs labels, and what it fits."""

    class Counting(type(base)):
        labelled = False
        open = ("classes",)

        def require(self, model):
            self.require_output(model, "classes")

        def modules(self, model):
            return nn.Linear(1, 1)

        def fit(self, samples):
            self.count = len(samples)
            return self

        def losses(self, step):
            return {"loss": torch.tensor(2.0), "other": torch.tensor(3.0)}

    objective = RightReasons(base=Counting(), finding="nodule", weight=0)
    assert not objective.labelled
    assert RightReasons(base=Counting(), explainer=explainer("plain")).labelled
    assert objective.open == ("classes",)
    assert objective.fit(samples).params.base.count == 3
    assert isinstance(objective.modules(unet()), nn.Linear)
    with pytest.raises(ModelError, match="Counting needs the output 'classes'"):
        objective.require(unet())
    losses = objective.losses(step(unet(), masked))
    assert {name: losses[name].item() for name in ("loss", "base", "other")} == {"loss": 2, "base": 2, "other": 3}
    assert set(losses) == {"loss", "base", "other", "reasons"}
    with pytest.raises(ModelError, match="trains models with the head softmax or sigmoid"):
        RightReasons(base=base).require(unet(head="regression"))


def test_explainers_without_a_graph_are_refused(unet, masked, step, explainer, base):
    with pytest.raises(ModelError, match="Fixed lacks the trait 'differentiable'"):
        RightReasons(base=base, explainer=explainer("fixed")).require(unet())
    with pytest.raises(ModelError, match="the heatmaps of Detached are detached"):
        RightReasons(base=base, finding="nodule", explainer=explainer("detached")).losses(step(unet(), masked))
