"""Every law of explainers on toys, and every law of components, catches a planted fault."""

import uuid

import pytest
import torch
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import P, Params
from heatproof.explainer import Explainer
from heatproof.passes import gradients
from heatproof.testing import ConformanceError, check_explainer, checks, component, conforms, evidence
from heatproof.testing.check import Check, run


class Plain(Explainer[P]):
    """The gradient, with all traits that are true of it."""

    traits = frozenset({"signed", "differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images


class Contribution(Plain):
    """Image times gradient: complete on the toys."""

    traits = frozenset({"signed", "complete", "differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return batch.images * gradients(batch).images


class Keyed(Explainer):
    """Noise, without any use of the model."""

    requires = frozenset()
    traits = frozenset({"model_free", "seeded"})

    def explain(self, batch: Batch) -> Tensor:
        return batch.uniform(0)[:, None]


class Untargeted(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch.at(targets=[0] * len(batch))).images


class Strongest(Plain):
    """The larger of both classes' gradients: one map for all targets."""

    traits = frozenset({"targetless", "differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return torch.maximum(*(gradients(batch.at(targets=[side] * len(batch))).images for side in range(2)))


class Targeting(Plain):
    traits = frozenset({"targetless"})


class Misplaced(Strongest):
    def explain(self, batch: Batch) -> Tensor:
        return super().explain(batch).flip(-1)


class Uniform(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return torch.ones_like(batch.images) * gradients(batch).images.abs().amax()


class Flipped(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.flip(-1)


class Negated(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return -gradients(batch).images


class Absolute(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.abs()


class Spilling(Contribution):
    def explain(self, batch: Batch) -> Tensor:
        return functional.avg_pool2d(super().explain(batch), 3, 1, 1)


class Doubled(Contribution):
    def explain(self, batch: Batch) -> Tensor:
        return 2 * super().explain(batch)


class Knowing(Plain):
    traits = frozenset({"model_free"})


class Detached(Plain):
    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.detach()


class HalfDetached(Plain):
    def explain(self, batch: Batch) -> Tensor:
        values = gradients(batch).images
        return (values + values.detach()) / 2


class ComplexParams(Params):
    factor: complex = 1j


class Unwritable(Plain[ComplexParams]):
    """Has a setting that cannot be written to JSON."""


class OpenParams(Params):
    model_config = ConfigDict(extra="allow")


class Lax(Plain[OpenParams]):
    """Accepts unknown settings."""


class ThawedParams(Params):
    model_config = ConfigDict(frozen=False)
    factor: int = 1


class Thawed(Plain[ThawedParams]):
    """Has a setting that can be changed in place."""


class Unpicklable(Plain):
    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"helper": lambda: None}


class Anonymous(Plain):
    def content(self) -> str:
        return uuid.uuid4().hex


FAULTS = (
    (Untargeted(), "maps follow the target"),
    (Targeting(), "maps follow the target"),
    (Uniform(), "heat lies on the region that decides"),
    (Flipped(), "heat lies on the region that decides"),
    (Misplaced(), "heat lies on the region that decides"),
    (Negated(), "signs follow the weights of a linear model"),
    (Absolute(), "signs follow the weights of a linear model"),
    (Spilling(), "pixels without weight get nothing on a linear model"),
    (Doubled(), "values sum to the score where complete"),
    (Knowing(), "a model free map never asks the model"),
    (Detached(), "a loss on the map reaches the weights"),
    (HalfDetached(), "a loss on the map reaches the weights"),
    (Unwritable(), "settings survive a round trip"),
    (Lax(), "settings are closed"),
    (Thawed(), "settings are closed"),
    (Unpicklable(), "pickles to the same component"),
    (Anonymous(), "identity follows from the settings"),
)


@conforms(Contribution(), Keyed(), Strongest())
def test_sound_explainers_pass_every_check(check):
    check()


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault, law):
    with pytest.raises(ConformanceError):
        run(fault.short, [check for check in checks(fault) if check.name == law])


def test_every_law_has_a_planted_fault():
    assert {law for _, law in FAULTS} == {Check(law, None).name for law in (*evidence.LAWS, *component.LAWS)}


@pytest.mark.slow
def test_no_law_of_a_sound_explainer_is_skipped_without_a_reason():
    skipped = {result.name for result in check_explainer(Contribution()) if result.outcome == "skipped"}
    assert skipped == {"a model free map never asks the model"}


@pytest.mark.slow
def test_noise_without_the_trait_model_free_fails():
    with pytest.raises(ConformanceError, match="heat lies on the region that decides"):
        check_explainer(type("Noise", (Keyed,), {"traits": frozenset({"seeded"})})())
