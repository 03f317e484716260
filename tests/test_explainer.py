"""The guard of explainers: what it restores and what it refuses; and the reductions of channels to a heatmap."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import Interference, ModelError, PluginError
from heatproof.explainer import REDUCTIONS, Explainer
from heatproof.passes import gradients
from heatproof.records import Explanation
from heatproof.testing import snapshot
from heatproof.testing.toys import Linear, Residual, Slope


class Doing(Explainer):
    """Calls a function on the batch, then explains it or fails."""

    def __init__(self, act: object, fail: bool = False):
        super().__init__()
        self.act = act
        self.fail = fail

    def explain(self, batch: Batch) -> Tensor:
        self.act(batch)
        if self.fail:
            raise RuntimeError("this explainer was made to fail")
        return torch.zeros_like(batch.images)


class Returning(Explainer):
    """Returns a fixed value."""

    def __init__(self, value: object):
        super().__init__()
        self.value = value

    def explain(self, batch: Batch) -> Tensor:
        return self.value


class Layered(Explainer):
    requires = frozenset({"gradients", "layers"})

    def layers(self, model: object) -> tuple[str, ...]:
        return ("stem",)

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images


class Blind(Explainer):
    """Uses nothing of the model, although ``requires`` names capabilities."""

    requires = frozenset({"gradients", "layers"})
    traits = frozenset({"model_free"})

    def explain(self, batch: Batch) -> Tensor:
        return batch.noise(0)


class Broken(Residual):
    def build(self) -> nn.Module:
        raise AssertionError("nobody may build this network")


def new_batch(model=None, **changes):
    model = model or Residual()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batch(model, ["a", "b"], images, [0, 1], **changes)


def backward(batch):
    images = batch.images.clone().requires_grad_()
    batch.model.network(images).sum().backward()


def patch(batch):
    for network in (batch.model.network, batch.view.module):
        for module in network.modules():
            module.forward = lambda *arguments: arguments[0]


def hook(batch):
    for network in (batch.model.network, batch.view.module):
        for module in network.modules():
            module.register_forward_hook(lambda *arguments: None)
            module.register_full_backward_hook(lambda *arguments: None)


def unhook(batch):
    for module in batch.model.network.modules():
        module._forward_hooks.clear()


def draw(batch):
    torch.rand(3)
    np.random.rand(3)
    random.random()


ACTS = {
    "backward": backward,
    "patched forward": patch,
    "hooks": hook,
    "training": lambda batch: batch.model.network.train(),
    "one part in training": lambda batch: batch.view.module.get_submodule("relu").train(),
    "frozen": lambda batch: batch.model.network.requires_grad_(False),
    "thawed": lambda batch: batch.view.module.requires_grad_(True),
    "in place": lambda batch: setattr(batch.view.module.get_submodule("relu"), "inplace", True),
    "attribute": lambda batch: setattr(batch.model.network, "rule", "guided"),
    "other module": lambda batch: setattr(batch.model.network, "relu", nn.GELU()),
    "random states": draw,
}


def state_of(batch):
    return snapshot.of_networks([batch.model.network, batch.view.module]) | snapshot.of_process()


@pytest.mark.parametrize("fail", [False, True], ids=["returns", "fails"])
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_the_guard_restores(act, fail):
    batch = new_batch()
    before = state_of(batch)
    changed = Doing(act, fail)
    if fail:
        with pytest.raises(RuntimeError, match="made to fail"):
            changed(batch)
    else:
        changed(batch)
    assert snapshot.changes(before, state_of(batch)) == []


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_each_act_does_change_something_without_the_guard(act):
    batch = new_batch()
    before = state_of(batch)
    act(batch)
    assert snapshot.changes(before, state_of(batch))


def test_hooks_of_the_user_stay_and_can_still_be_removed():
    batch = new_batch()
    assert batch.view.merged
    assert batch.model.outline.layers
    calls = []
    handle = batch.model.network.stem.register_forward_hook(lambda *arguments: calls.append(1))
    Doing(unhook)(batch)
    batch.model.network(batch.images)
    assert calls == [1]
    handle.remove()
    batch.model.network(batch.images)
    assert calls == [1]


def test_gradients_of_a_training_step_keep_their_values():
    batch = new_batch()
    batch.model.network(batch.images).sum().backward()
    before = [parameter.grad.clone() for parameter in batch.model.network.parameters()]
    gradients_before = [parameter.grad for parameter in batch.model.network.parameters()]
    Doing(backward)(batch)
    after = [parameter.grad for parameter in batch.model.network.parameters()]
    assert all(map(torch.equal, before, after))
    assert all(first is second for first, second in zip(gradients_before, after))


@pytest.mark.parametrize("source", [torch.rand, lambda n: np.random.rand(n), lambda n: random.random()])
def test_global_generators_are_seeded_by_the_batch(source):
    drawn = []
    for seed in (0, 0, 1):
        torch.rand(5)
        Doing(lambda batch: drawn.append(source(1)))(new_batch(seed=seed))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_writing_into_the_images_is_refused():
    with pytest.raises(
        PluginError, match="Doing changes the images of its batch; let it restore them, or work on a copy"
    ):
        Doing(lambda batch: batch.images.mul_(2))(new_batch())


def test_writing_into_the_weights_is_refused_and_the_network_is_built_anew():
    batch = new_batch()
    weight = batch.model.network.stem.weight.detach().clone()

    @torch.no_grad()
    def write(batch):
        batch.model.network.stem.weight.mul_(2)

    with pytest.raises(PluginError, match="changes weights or buffers"):
        Doing(write)(batch)
    assert torch.equal(batch.model.network.stem.weight, weight)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, 2, 16, 16), r"returned shape \(2, 2, 16, 16\); allowed: \(2, 1, 16, 16\) or \(2, 3, 16, 16\)"),
        (torch.zeros(1, 3, 16, 16), "returned shape"),
        (torch.zeros(2, 16, 16), "returned shape"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.float64), "returned torch.float64; allowed: torch.float32"),
        (np.zeros((2, 3, 16, 16), np.float32), r"explain of .* must return a tensor \(got array"),
        (None, "got None"),
    ],
)
def test_values_of_another_form_are_refused(value, message):
    with pytest.raises(PluginError, match=message):
        Returning(value)(new_batch())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_becomes_an_explanation(channels):
    values = torch.rand(2, channels, 16, 16)
    assert Returning(values)(new_batch()).values is values
    explanation = Explanation(values, notes={"steps": [1, 2]})
    assert Returning(explanation)(new_batch()) is explanation


def test_a_model_without_what_is_required_is_undefined():
    model = Linear()
    verdict = Layered().verdict(model)
    assert verdict.level == "undefined"
    with pytest.raises(ModelError, match="Layered needs layers, which Linear does not offer"):
        Layered()(new_batch(model))


def test_layers_must_be_among_those_of_the_batch():
    with pytest.raises(PluginError, match=r"needs the layer 'stem'; give layers\(model\) to the batch"):
        Layered()(new_batch())
    assert Layered()(new_batch(layers=("stem",))).values.shape == (2, 3, 16, 16)


def test_a_model_free_explainer_never_builds_the_network():
    assert Blind().verdict(Broken()).level == "exact"
    assert Blind()(new_batch(Broken())).values.shape == (2, 3, 16, 16)


def test_images_of_other_dimensions_are_refused():
    class Flat(Slope):
        spaces = frozenset({2})

    batch = Batch(Residual(dimensions=3), ["a"], torch.rand(1, 3, 16, 16, 16), [0])
    with pytest.raises(ModelError, match="Flat explains 2-D images; these have 3 dimensions"):
        Flat()(batch)


def test_reductions_in_closed_form():
    values = torch.tensor([[3.0, 1.0], [-4.0, 2.0], [0.0, -2.0]])[None]
    expected = {"max": [3.0, 2.0], "abs_max": [4.0, 2.0], "sum": [-1.0, 1.0], "l2": [5.0, 3.0]}
    assert {name: reduce(values)[0].tolist() for name, reduce in REDUCTIONS.items()} == expected


def test_shared_results_that_were_written_to_are_computed_again():
    batch = new_batch()
    expected = gradients(batch).images.clone()
    with pytest.raises(Interference, match="Doing changes the shared gradients; let it restore them, or work on a"):
        Doing(lambda batch: gradients(batch).images.abs_())(batch)
    assert torch.equal(gradients(batch).images, expected)


@pytest.mark.parametrize(
    "act",
    [
        lambda batch: batch.images.mul_(2),
        lambda batch: batch.images.data.mul_(2),
        lambda batch: batch.images.numpy().fill(0),
        lambda batch: batch.images.resize_(1, 3, 16, 16),
        lambda batch: setattr(batch, "images", batch.images * 2),
        lambda batch: batch.images.set_(torch.zeros(1)),
    ],
    ids=["in place", "as data", "as an array", "resized", "replaced", "set"],
)
def test_images_that_were_written_to_are_restored(act):
    batch = new_batch()
    images = batch.images.clone()
    for _ in range(2):
        with pytest.raises(Interference, match="changes the images of its batch"):
            Doing(act)(batch)
        assert torch.equal(batch.images, images)
    Doing(lambda batch: None)(batch)


def test_a_result_computed_by_a_changed_network_is_not_shared():
    batch = new_batch()
    expected = gradients(new_batch()).images

    def patched(batch):
        batch.view.module.forward = lambda images: images.flatten(1)[:, :3]
        assert not torch.equal(gradients(batch).images, expected)

    Doing(patched)(batch)
    assert torch.equal(gradients(batch).images, expected)


def test_the_state_of_the_process_is_restored_and_its_change_named():
    def change(batch):
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")

    with pytest.raises(Interference, match=r"Doing changes the default dtype of the process, numpy's handling of err"):
        Doing(change)(new_batch())
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("fail", [SystemExit(0), GeneratorExit(), BaseException("odd")], ids=repr)
def test_an_exit_is_an_error_of_the_explainer(fail):
    def leave(batch):
        raise fail

    with pytest.raises(PluginError, match=f"Doing ended the process .{type(fail).__name__}"):
        Doing(leave)(new_batch())


def test_an_interrupt_passes_and_the_state_is_restored():
    def leave(batch):
        torch.set_default_dtype(torch.float64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Doing(leave)(new_batch())
    assert torch.get_default_dtype() == torch.float32
