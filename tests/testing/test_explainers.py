"""Every law of explainers catches a planted fault; sound explainers pass all laws."""

import gc
import random
import tracemalloc
import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import PluginError
from heatproof.explainer import Explainer
from heatproof.passes import gradients
from heatproof.records import Explanation, Verdict
from heatproof.testing import ConformanceError, check_explainer, checks, conforms, explainer, toys
from heatproof.testing.check import Check, run
from heatproof.testing.toys import Slope


class Plain(Explainer):
    """The gradient, with all traits that are true of it."""

    traits = frozenset({"signed", "differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images


class SmoothParams(Params):
    base: Explainer = Plain()
    others: tuple[Explainer, ...] = (Slope(),)
    samples: int = 3


class Smooth(Explainer[SmoothParams]):
    """A composite explainer with seeded noise."""

    traits = frozenset({"seeded"})

    def explain(self, batch: Batch) -> Tensor:
        noisy = (batch.at(batch.images + 0.05 * batch.noise(draw)) for draw in range(self.params.samples))
        return torch.stack(list(map(self.params.base.explain, noisy))).mean(0)


class Volume(Plain):
    """Supports volumes only."""

    spaces = frozenset({3})


class Needy(Plain):
    requires = frozenset({"attention"})


class Reasonless(Plain):
    def verdict(self, model: object) -> Verdict:
        return Verdict("approximate")


class Reckless(Plain):
    """Ignores the capabilities of the model."""

    def verdict(self, model: object) -> Verdict:
        return Verdict("exact")


class Lost(Plain):
    def layers(self, model: object) -> tuple[str, ...]:
        return ("nowhere",)


class Narrow(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images[..., 1:]


class Single(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.float()


class Divides(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images / batch.images


class OneNote(Plain):
    def explain(self, batch: Batch) -> Explanation:
        return Explanation(gradients(batch).images, notes={"steps": [1]})


class TensorNote(Plain):
    def explain(self, batch: Batch) -> Explanation:
        return Explanation(gradients(batch).images, notes={"steps": torch.zeros(len(batch))})


class WritesImages(Plain):
    def explain(self, batch: Batch) -> Tensor:
        batch.images.numpy()[:] += 1
        return gradients(batch).images


class WritesShared(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.mul_(2)


class Unrepeatable(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images * float(np.random.default_rng().uniform(1, 2))


class Undeclared(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images + batch.noise(0)


class Unseeded(Plain):
    traits = frozenset({"seeded"})


class BatchScaled(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images / gradients(batch).images.abs().max()


class BatchNoise(Plain):
    """Uses torch's generator, which the guard seeds by the whole batch, so its noise depends on the other samples."""

    traits = frozenset({"seeded"})

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images + torch.rand_like(batch.images)


class PieceScaled(Plain):
    def explain(self, batch: Batch) -> Tensor:
        parts = batch.pieced(lambda piece: gradients(piece).images)
        return torch.cat([values / values.abs().max() for values in parts])


class LeavesHook(Plain):
    def explain(self, batch: Batch) -> Tensor:
        next(batch.view.module.children()).register_forward_hook(lambda *arguments: None)
        return gradients(batch).images


class LeavesForward(Plain):
    def explain(self, batch: Batch) -> Tensor:
        batch.model.network.forward = batch.model.network.forward
        return gradients(batch).images


class LeavesGradients(Plain):
    def explain(self, batch: Batch) -> Tensor:
        images = batch.images.clone().requires_grad_()
        batch.pick(batch.model.network(images)).sum().backward()
        return images.grad


class LeavesTraining(Plain):
    def explain(self, batch: Batch) -> Tensor:
        values = gradients(batch).images
        batch.model.network.train()
        return values


class LeavesFrozen(Plain):
    def explain(self, batch: Batch) -> Tensor:
        batch.model.network.requires_grad_(False)
        return gradients(batch).images


class LeavesWeights(Plain):
    def explain(self, batch: Batch) -> Tensor:
        values = gradients(batch).images
        next(batch.model.network.parameters()).data.mul_(2)
        return values


class LeavesGradientMode(Plain):
    def explain(self, batch: Batch) -> Tensor:
        values = gradients(batch).images
        torch.set_grad_enabled(False)
        return values


class Hopeful(Plain):
    """Doubles the weights for its passes, and does not restore them after an error."""

    def explain(self, batch: Batch) -> Tensor:
        weights = next(batch.model.network.parameters()).data
        weights.mul_(2)
        values = gradients(batch).images
        weights.div_(2)
        return values


class Swallows(Plain):
    def explain(self, batch: Batch) -> Tensor:
        try:
            return gradients(batch).images
        except RuntimeError:
            return torch.zeros_like(batch.images)


class Moody(Plain):
    def __init__(self, **params: object):
        super().__init__(**params)
        self._mood = random.uniform(1, 2)

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images * self._mood


class Keeps(Plain):
    """Keeps every map in a list of its class."""

    maps: ClassVar[list[object]] = []

    def explain(self, batch: Batch) -> Tensor:
        values = gradients(batch).images
        self.maps.append(self.kept(values))
        return values

    def kept(self, values: Tensor) -> object:
        return values


class KeepsArrays(Keeps):
    """Keeps arrays, which the garbage collector does not track."""

    def kept(self, values: Tensor) -> object:
        return values.numpy().copy()


class Warns(Plain):
    """Warns on each call; pytest keeps the warnings."""

    def explain(self, batch: Batch) -> Tensor:
        warnings.warn("this will change", DeprecationWarning, stacklevel=2)
        return gradients(batch).images


class KeepsLast(Keeps):
    """Keeps one map at a time, so memory does not grow."""

    def kept(self, values: Tensor) -> object:
        self.maps.clear()
        return values


class KeepsGraph(Keeps):
    """Keeps the autograd graph of each sample instead of its map."""

    def explain(self, batch: Batch) -> Tensor:
        images = batch.images.clone().requires_grad_()
        self.maps.append(batch.pick(batch.model.network(images)).grad_fn)
        return gradients(batch).images


SOUND = (Plain(), Smooth(), Volume(), Slope())
FAULTS = (
    (Needy(), "is defined on the model it is tried with"),
    (Reasonless(), "is defined on the model it is tried with"),
    (Reckless(), "is undefined where a capability is lacking"),
    (Lost(), "layers belong to the model"),
    (Narrow(), "maps have the form of the images"),
    (Single(), "maps have the form of the images"),
    (Divides(), "maps are finite"),
    (OneNote(), "notes hold one entry per sample"),
    (TensorNote(), "notes hold one entry per sample"),
    (WritesImages(), "images and inputs are left untouched"),
    (WritesShared(), "shared results are left untouched"),
    (Unrepeatable(), "the same seed gives the same map"),
    (Undeclared(), "another seed gives another map where seeded"),
    (Unseeded(), "another seed gives another map where seeded"),
    (BatchScaled(), "a batch equals its singles"),
    (BatchNoise(), "a batch equals its singles"),
    (PieceScaled(), "any micro batch size gives the same map"),
    (LeavesHook(), "the model is left as it was"),
    (LeavesForward(), "the model is left as it was"),
    (LeavesGradients(), "the model is left as it was"),
    (LeavesTraining(), "the model is left as it was"),
    (LeavesFrozen(), "the model is left as it was"),
    (LeavesWeights(), "the model is left as it was"),
    (LeavesGradientMode(), "the model is left as it was"),
    (Hopeful(), "the model is left as it was after an error"),
    (Swallows(), "the model is left as it was after an error"),
    (Moody(), "a pickled copy gives the same map"),
    (KeepsGraph(), "memory does not grow"),
)


@conforms(*SOUND)
def test_sound_explainers_pass_every_check(check):
    check()


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault, law):
    torch.set_grad_enabled(True)
    try:
        with pytest.raises(ConformanceError):
            run(fault.short, [check for check in checks(fault) if check.name == law])
    finally:
        torch.set_grad_enabled(True)


@pytest.mark.slow
@pytest.mark.filterwarnings("always:this will change")
@pytest.mark.parametrize("sound", [KeepsLast(), Warns()])
def test_one_map_or_warnings_of_pytest_are_no_growth(sound):
    run(sound.short, [check for check in checks(sound) if check.name == "memory does not grow"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"), [(Keeps(), r"leave \d+ objects; .* Tensor"), (KeepsArrays(), "66 arrays")]
)
def test_a_violation_says_how_much_memory_grows(fault, message):
    with pytest.raises(ConformanceError, match=message):
        run(fault.short, [check for check in checks(fault) if check.name == "memory does not grow"])


@pytest.mark.slow
def test_measuring_memory_leaves_no_trace():
    before = gc.get_freeze_count(), tracemalloc.is_tracing()
    run("Plain", [check for check in checks(Plain()) if check.name == "memory does not grow"])
    assert (gc.get_freeze_count(), tracemalloc.is_tracing()) == before


def test_every_law_has_a_planted_fault():
    assert {law for _, law in FAULTS} == {Check(law, None).name for law in explainer.LAWS}


@pytest.mark.slow
def test_a_check_says_what_was_seen():
    with pytest.raises(ConformanceError, match="claims the trait 'seeded', but another seed gives the same map"):
        check_explainer(Unseeded())


def test_a_model_can_be_given_with_its_samples():
    model = toys.Regions()
    results = check_explainer(Plain(), model=model, samples=model.samples(4))
    assert all(result.passed for result in results)


def test_the_guard_refuses_maps_of_another_shape():
    model = toys.Residual()
    with pytest.raises(PluginError, match="returned shape"):
        Narrow()(Batch(model, ["a"], torch.rand(1, 3, 16, 16), [0]))
