"""Every law of models catches a planted fault; sound models pass all laws."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.model import Model
from heatproof.network.opaque import Opaque
from heatproof.network.views import View
from heatproof.records import Array, Prediction, Sample
from heatproof.testing import ConformanceError, checks, conforms, toys
from heatproof.testing.check import NotApplicable, Violation, run
from heatproof.testing.toys import Blocks, Residual


class Wrapped(nn.Module):
    """A residual toy network with a fault before or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Residual().build()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images)


class Wakeful(Wrapped):
    def eval(self) -> nn.Module:
        return self.train()


class Droops(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.inner(functional.dropout(images, 0.5, training=True))


class Couples(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images - images.mean(0))


class Cuts(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.detach())


class Overwide(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.inner(images)] * 2, 1)


class Explodes(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) / 0.0


def with_network(kind: type[nn.Module]) -> Residual:
    """A model that builds this network."""
    return type(kind.__name__, (Residual,), {"build": lambda self: kind()})()


class DrawnAnew(Residual):
    def build(self) -> nn.Module:
        network = super().build()
        network.head.weight.data = torch.randn(3, 8)
        return network


class Misnames(Residual):
    outputs = ("logits", "mask")


class Doubled(View):
    """Gives twice the outputs of the network."""

    def __call__(self, *arguments: Any) -> Any:
        outputs, activations = super().__call__(*arguments)
        return {name: 2 * value for name, value in outputs.items()}, activations


class Disguised(Residual):
    """A model whose view is not its network."""

    def view(self, images: Tensor, inputs: Mapping[str, Any], folded: bool = True) -> View | Opaque:
        return Doubled(super().view(images, inputs, folded).module, self.outputs)


class Branches(Wrapped):
    """A network that fx cannot trace: it branches on values."""

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) if images.sum() > 0 else -self.inner(images)


class Unobservable(Residual):
    capabilities = frozenset({"gradients", "layers"})

    def build(self) -> nn.Module:
        return Branches()


class Flattened(Residual):
    def spatial(self, layer: str, values: Tensor) -> Tensor:
        return values.flatten(2)


class Overexposed(Residual):
    """Overrides ``prepare``, but claims the grid of the preparation."""

    grid = Blocks().identity

    def prepare(self, sample: Sample) -> Sample:
        prepared = super().prepare(sample)
        return replace(prepared, image=prepared.image * 2)


class Stubborn(Residual):
    def target(self, target: str | int) -> int:
        return 0


class Secretive(Residual):
    """Reads an extra that it does not declare."""

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        return {"age": [sample.extras["age"] for sample in samples]}


class Aged(Residual):
    """Reads an extra as a tensor."""

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        return {"age": torch.tensor([float(sample.extras.get("age", 0)) for sample in samples])}


class Declaring(Aged):
    extras = ("age",)


class Nowhere(Residual):
    def layers(self) -> tuple[str, ...]:
        return ("stem", "nowhere")


class Unordered(Residual):
    last_layer = "head"


class Permissive(Residual):
    def layer(self, name: str) -> str:
        return "stem"


class Indecisive(Residual):
    def read(self, logits: Array) -> Prediction:
        return replace(super().read(logits), decision=3)


class Unnormalised(Residual):
    def read(self, logits: Array) -> Prediction:
        return replace(super().read(logits), probabilities=np.ones(3))


class Overflows(Residual):
    def read(self, logits: Array) -> Prediction:
        with np.errstate(all="ignore"):
            powers = np.exp(logits)
            return replace(super().read(logits), probabilities=powers / powers.sum())


class Precise(Residual):
    def prepare(self, sample: Sample) -> Sample:
        prepared = super().prepare(sample)
        return replace(prepared, image=prepared.image.astype(np.float64))


class Fieldless(Residual):
    def prepare(self, sample: Sample) -> Sample:
        return replace(super().prepare(sample), field=None)


class Percent(Residual):
    def prepare(self, sample: Sample) -> Sample:
        return with_masks(super().prepare(sample), lambda values: values * 100)


class Thresholds(Residual):
    """Drops every pixel that a mask does not cover entirely."""

    def prepare(self, sample: Sample) -> Sample:
        return with_masks(super().prepare(sample), lambda values: (values == 1).astype(np.float32))


class WritesSample(Residual):
    def prepare(self, sample: Sample) -> Sample:
        sample.image[:] //= 2
        return super().prepare(sample)


class Forgets(Residual):
    def prepare(self, sample: Sample) -> Sample:
        return replace(super().prepare(sample), patient="")


class Misplaced(Residual):
    """Keeps the geometry of the native image."""

    def prepare(self, sample: Sample) -> Sample:
        return replace(super().prepare(sample), geometry=sample.geometry)


class Shifted(Residual):
    """Moves the masks, not the geometry."""

    def prepare(self, sample: Sample) -> Sample:
        return with_masks(super().prepare(sample), lambda values: np.roll(values, 2, 0))


def with_masks(sample: Sample, change: object) -> Sample:
    """The sample with every annotation's values changed."""
    return replace(
        sample,
        annotations=tuple(replace(annotation, values=change(annotation.values)) for annotation in sample.annotations),
    )


AT_HAND = Model.of(Residual(seed=1).build(), Residual.classes, Blocks())
SOUND = (toys.Linear(), toys.Regions(), toys.Piecewise(), toys.Residual(), AT_HAND)
FAULTS = (
    (with_network(Wakeful), "the network is a module in evaluation mode"),
    (with_network(Overwide), "logits have one column per class"),
    (with_network(Explodes), "logits have one column per class"),
    (Misnames(), "logits have one column per class"),
    (with_network(Droops), "the same images give the same logits"),
    (with_network(Couples), "a batch equals its singles"),
    (Precise(), "prepared samples lie on one grid"),
    (Fieldless(), "prepared samples lie on one grid"),
    (Percent(), "prepared samples lie on one grid"),
    (WritesSample(), "preparing leaves the sample untouched"),
    (Forgets(), "preparing leaves the sample untouched"),
    (Misplaced(), "the geometry maps masks back"),
    (Shifted(), "the geometry maps masks back"),
    (Thresholds(), "masks keep their area"),
    (Indecisive(), "readings decide on a class"),
    (Unnormalised(), "readings decide on a class"),
    (Overflows(), "readings decide on a class"),
    (Nowhere(), "layers can be observed"),
    (Unordered(), "layers can be observed"),
    (Permissive(), "layers can be observed"),
    (Flattened(), "layers can be observed"),
    (Unobservable(), "layers can be observed"),
    (Overexposed(), "models of one grid prepare alike"),
    (Stubborn(), "targets are the classes"),
    (Secretive(), "collating reads only the extras that are declared"),
    (Disguised(), "views equal the network"),
    (with_network(Cuts), "gradients reach the image"),
    (DrawnAnew(), "building twice gives the same network"),
)


def test_logits_per_pixel_decide_on_no_class_of_the_image():
    model = Model.of(nn.Conv2d(3, 1, 1), ("bright",), Blocks(), head="sigmoid")
    (result,) = run("segmenting", [check for check in checks(model) if check.name == "readings decide on a class"])
    assert (result.outcome, result.reason) == ("skipped", "the model gives logits per pixel")


@conforms(*SOUND)
def test_sound_models_pass_every_check(check):
    check()


def test_tensors_from_extras_count_by_their_values():
    aged = replace(toys.Blobs().load("blob-000"), extras={"age": 3})
    for model, sound in ((Declaring(), True), (Aged(), False)):
        (check,) = [item for item in checks(model, sample=aged) if item.name.startswith("collating")]
        with nullcontext() if sound else pytest.raises(Violation, match="inputs depend on other extras"):
            check()
    (check,) = [item for item in checks(Declaring()) if item.name.startswith("collating")]
    with pytest.raises(NotApplicable, match="generated images have no age; check it with a sample that has them"):
        check()


@conforms(toys.Residual(dimensions=3), sample=toys.Blobs(size=32, dimensions=3).load("blob-000"))
def test_a_sound_model_of_volumes_passes_every_check(check):
    check()


@pytest.mark.parametrize(("fault", "law"), FAULTS, ids=[f"{fault.short}: {law}" for fault, law in FAULTS])
def test_a_planted_fault_is_caught(fault, law):
    with pytest.raises(ConformanceError):
        run(fault.short, [check for check in checks(fault) if check.name == law])


def test_every_law_of_its_own_has_a_planted_fault():
    shared = {check.name for check in checks(toys.Blobs())}
    assert {law for _, law in FAULTS} == {check.name for check in checks(Residual())} - shared
