"""The rectified gradients of all classes: equal to those of single classes, by one forward and a backward per class."""

import pytest
import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Linear, Piecewise, Residual
from heatproof_clear.responses import responses
from heatproof_shared_passes.rectified import rectified


class Graded(Model):
    """A network with one logit."""

    classes = ("none", "some", "much")
    head = "ordinal"

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 1)
        ).double()  # fmt: skip


def residual_batch(model: Model | None = None, count: int = 4, **changes: object) -> Batch:
    model = model or in_float64(Residual())
    samples = Residual().samples(count)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    return Batch(model, [sample.id for sample in samples], images, [0, 1] * (count // 2), **changes)


@pytest.mark.parametrize("rule", ["gradient", "guided", "deconv"])
@pytest.mark.parametrize("toy", [Residual, Piecewise], ids=["residual", "piecewise"])
def test_every_class_is_as_if_alone(toy, rule):
    batch = residual_batch(in_float64(toy()))
    maps = responses(batch, rule)
    assert maps.shape == (4, len(batch.model.classes), 3, 16, 16)
    for target in range(len(batch.model.classes)):
        assert torch.equal(maps[:, target], rectified(batch.at(targets=[target] * 4), rule))
    assert not maps.requires_grad


def test_one_logit_is_one_class():
    batch = residual_batch(Graded())
    maps = responses(batch, "guided")
    assert maps.shape == (4, 1, 3, 16, 16)
    assert torch.equal(maps[:, 0], rectified(batch, "guided"))


def test_all_classes_take_one_forward_and_one_backward_each(passed):
    batch = residual_batch(rows=2)
    counts = passed(batch)
    first = responses(batch, "deconv")
    assert counts == {"forward": 2, "backward": 2 * 3}
    assert responses(batch, "deconv") is first
    assert responses(batch, "guided") is not first


def test_pieces_give_the_same_maps():
    whole = responses(residual_batch(), "deconv")
    torch.testing.assert_close(responses(residual_batch(rows=3), "deconv"), whole, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("model", "policy", "message"),
    [
        (Linear(), "all", "nothing in Linear can be rectified: no activation lies between the image and the output"),
        (Graded(), "relu_only", "its activations are SiLU; act_policy: all rectifies them"),
    ],
)
def test_nothing_to_rectify_is_an_error(model, policy, message):
    with pytest.raises(ModelError, match=message):
        responses(residual_batch(in_float64(model)), "deconv", policy)


def test_a_training_loss_reaches_the_weights():
    batch = residual_batch(differentiable=True)
    values = responses(batch, "guided")
    (gradient,) = torch.autograd.grad(values.square().sum(), batch.model.network.stem.weight)
    assert float(gradient.abs().max()) > 0
