"""The bench of explainers: an explainer with the model and the samples for its checks."""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch, fields
from ..component import Component
from ..errors import ModelError
from ..explainer import Explainer
from ..model import Model
from ..records import Explanation, Sample
from ..regions import whole
from .check import NotApplicable
from .toys import Blobs, Graded, Residual, Toy

SAMPLES = 4


class ExplainerBench:
    """An explainer with the model and the prepared samples for its checks, each built on first use."""

    def __init__(self, explainer: Explainer, model: Model | None = None, samples: Sequence[Sample] | None = None):
        self._explainer = explainer
        self._model = model
        self._samples = samples

    @cached_property
    def component(self) -> Component:
        """The explainer, with open settings filled from the samples."""
        if self._explainer.open:
            return self._explainer.fit(self.samples)
        return self._explainer

    @cached_property
    def model(self) -> Model:
        """The model of the checks: by default a small residual network, or one with grades if the method needs them."""
        if self._model:
            return self._model
        dimensions = min(self._explainer.spaces & {2, 3}, default=2)
        toys = [toy(dimensions=dimensions) for toy in (Residual, Graded)]
        return next((toy for toy in toys if self._explainer.verdict(toy).level != "undefined"), toys[0])

    @cached_property
    def samples(self) -> list[Sample]:
        """Four prepared samples."""
        if self._samples is None:
            return default_samples(self.model)
        return list(self._samples)

    @cached_property
    def precise(self) -> Model:
        """The same model in float64."""
        return in_float64(self.model)

    def explainer(self, model: Model) -> Explainer:
        """The explainer, or the last of those that it expands to on this model."""
        assert isinstance(self.component, Explainer)
        return list(self.component.expand(model))[-1]

    def batch(self, dtype: torch.dtype = torch.float64, **changes: Any) -> Batch:
        """A new batch of the samples with mixed targets; ``changes`` are further arguments of ``Batch``."""
        model = self.precise if dtype == torch.float64 else self.model
        return batch_of(self.explainer(model), model, self.samples, dtype, **changes)

    def explained(self, batch: Batch) -> Tensor:
        """The detached values (n, c or 1, *space) of a guarded call."""
        return values_of(self.explainer(batch.model)(batch))

    def toy(self, toy: Toy) -> Batch:
        """A float64 batch of a toy; raises ``NotApplicable`` if the explainer is not defined on it."""
        model = in_float64(toy)
        try:
            explainer = self.explainer(model)
            verdict = explainer.verdict(model)
            if toy.params.dimensions not in explainer.spaces or verdict.level == "undefined":
                raise NotApplicable(f"not defined on the toy {toy.short}: {verdict.reason or 'its dimensions'}")
            return batch_of(explainer, model, toy.samples(SAMPLES), torch.float64)
        except ModelError as error:
            raise NotApplicable(f"not defined on the toy {toy.short}: {error}") from None


def in_float64(model: Model) -> Model:
    """A model of the same settings whose network is a copy in float64."""
    precise = model.with_()
    precise.__dict__["network"] = copy.deepcopy(model.network).double()
    return precise


def default_samples(model: Model) -> list[Sample]:
    """Prepared samples of generated images that fit a model."""
    if isinstance(model, Toy):
        return model.samples(SAMPLES)
    blobs = Blobs()
    return [model.prepare(blobs.load(id)) for id in blobs.ids()[:SAMPLES]]


def batch_of(
    explainer: Explainer, model: Model, samples: Sequence[Sample], dtype: torch.dtype, **changes: Any
) -> Batch:
    """A batch of prepared samples with mixed targets and the layers that the explainer needs."""
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).to(dtype)
    logits = 1 if model.head in ("ordinal", "regression") else len(model.classes)
    settings: dict[str, Any] = {
        "targets": [index % logits for index in range(len(samples))],
        "inputs": model.collate(samples),
        "field": fields(samples),
        "region": whole(model, images),
        "layers": explainer.layers(model),
        "requests": explainer.requests(model),
    }
    return Batch(model, [sample.id for sample in samples], images, **settings | changes)


def values_of(explanation: Explanation) -> Tensor:
    """A detached copy of the values."""
    values: Tensor = explanation.values
    return values.detach().clone()


def networks_of(batch: Batch) -> list[nn.Module]:
    """The network itself and its folded view."""
    return [batch.model.network, batch.view.module]


def difference(expected: Tensor, actual: Tensor) -> float:
    """The largest difference relative to the largest expected value; absolute if all expected values are zero."""
    scale = float(expected.abs().max())
    return float((expected - actual).abs().max()) / (scale or 1.0)
