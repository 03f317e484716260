"""Rectified gradients: one forward pass for all planned rules, in pieces of any size, in threads, and in a loss."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import torch

from heatproof.batch import Batch
from heatproof.network.views import View
from heatproof.passes import gradients
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual
from heatproof_shared_passes import rectified as module
from heatproof_shared_passes.rectified import rectified, request

RULES = ("gradient", "guided", "deconv")


def batch(count=5, **changes):
    model = in_float64(Residual())
    samples = Residual().samples(count)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    settings = {"targets": [index % len(model.classes) for index in range(count)], "layers": model.layers()}
    return Batch(model, [sample.id for sample in samples], images, **settings | changes)


def test_a_rule_takes_one_forward_and_one_backward(passed):
    images = batch()
    counts = passed(images)
    for rule in ("guided", "deconv"):
        for _ in range(2):
            rectified(images, rule)
    assert counts == {"forward": 2, "backward": 2}


def test_planned_rules_of_one_policy_share_a_forward_and_keep_their_maps(passed):
    alone = {rule: rectified(batch(), rule) for rule in ("guided", "deconv")}
    planned = batch(requests=[request("guided"), request("deconv"), request("guided", "relu_only")])
    counts = passed(planned)
    assert all(torch.equal(rectified(planned, rule), values) for rule, values in alone.items())
    assert counts == {"forward": 1, "backward": 2}
    rectified(planned, "guided", "relu_only")
    assert counts == {"forward": 2, "backward": 3}


def test_of_other_images_no_rule_is_planned(passed):
    planned = batch(requests=[request("guided"), request("deconv")])
    counts = passed(planned)
    rectified(planned.at(planned.images + 1), "guided")
    assert counts == {"forward": 1, "backward": 1}


def test_requests_of_other_passes_are_left_alone(passed):
    planned = batch(requests=[("other", "all", "deconv"), request("guided")])
    counts = passed(planned)
    rectified(planned, "guided")
    assert counts == {"forward": 1, "backward": 1}


def test_without_a_rule_the_walk_gives_the_native_bits():
    images = batch()
    assert torch.equal(rectified(images, "gradient"), gradients(images).images)


@pytest.mark.parametrize("rows", [1, 2])
def test_any_number_of_rows_gives_the_same_maps(rows):
    maps = rectified(batch(rows=rows), "guided")
    torch.testing.assert_close(maps, rectified(batch(), "guided"), rtol=1e-9, atol=1e-12)


def test_the_rule_is_part_of_the_key():
    images = batch()
    maps = [rectified(images, rule) for rule in RULES]
    assert not any(torch.equal(first, second) for first, second in combinations(maps, 2))


def test_rectified_gradients_observe_no_layer(monkeypatch):
    captures = []
    forward = View.__call__
    monkeypatch.setattr(
        View, "__call__", lambda view, images, inputs, capture=(), *rest: captures.append(tuple(capture))
        or forward(view, images, inputs, capture, *rest),
    )  # fmt: skip
    rectified(batch(), "guided")
    assert set(captures) == {()}


def test_passes_in_threads_keep_their_rules_apart():
    images = batch()
    expected = {rule: rectified(images, rule) for rule in RULES}
    rules = list(RULES) * 4
    with ThreadPoolExecutor(6) as threads:
        maps = list(threads.map(lambda rule: rectified(images.at(), rule), rules))
    assert all(torch.equal(values, expected[rule]) for rule, values in zip(rules, maps))


def test_an_error_in_the_backward_restores_the_rule(monkeypatch):
    cells = []
    make = module.Rectifying
    monkeypatch.setattr(module, "Rectifying", lambda policy: cells.append(make(policy)) or cells[-1])
    monkeypatch.setattr(torch.autograd, "grad", lambda *arguments, **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rectified(batch(), "guided")
    assert [cell.rule for cell in cells] == ["gradient"]


def test_a_training_loss_reaches_the_weights():
    images = batch(count=2, differentiable=True)
    loss = rectified(images, "guided").square().sum()
    (gradient,) = torch.autograd.grad(loss, images.model.network.stem.weight)
    assert float(gradient.abs().max()) > 0
