"""What a plan will cost: passes, memory and disk, before it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.errors import DataError
from heatproof.metric import Metric
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.plan.task import Combination, Source, told_apart
from heatproof.records import Sample

if TYPE_CHECKING:
    from heatproof.plan.plan import Plan


@dataclass(frozen=True)
class Estimate:
    """The cost of one dataset and model: passes over all samples, bytes on disk, bytes at the peak for one image.

    ``metrics`` holds by name the forward and backward passes of those that ask the model or the explainer.
    """

    dataset: str
    model: str
    samples: int
    forwards: int
    backwards: int
    heatmaps: int
    disk: int
    memory: int
    metrics: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def estimates(plan: "Plan") -> list[Estimate]:
    """One estimate per dataset split and model; it decodes one sample and runs one pass of each."""
    jobs = list(plan.jobs())
    names = told_apart(component for source, model, _ in jobs for component in (source.dataset, model))
    costs = []
    for source, model, combinations in jobs:
        costs.append(_estimate(plan, names, source, model, combinations))
        if len(jobs) > 1:
            model.forget()
    return costs


def _estimate(
    plan: "Plan", names: Mapping[str, str], source: Source, model: Model, combinations: Sequence[Combination]
) -> Estimate:
    sample = _first_readable(source, model)
    if sample is None:
        raise DataError(
            f"none of the {len(source.ids)} samples of {source.dataset.short} can be read for {model.short}; check its "
            "folder with `heatproof data check`."
        )
    forwards, backwards = passes(combinations, sample.space)
    count, maps = len(source.ids), len(source.ids) * len(combinations)
    # Raw float32: heatmaps of noise-like methods hardly compress.
    disk = maps * int(np.prod(sample.space)) * 4
    layers = {layer for item in combinations for layer in item.layers}
    memory = peak(model, sample, sorted(layers))
    costs = scoring(plan.metrics, model, combinations, sample.space)
    asked = {name: (count * cost[0], count * cost[1]) for name, cost in costs.items()}
    dataset, called = names[source.dataset.identity], names[model.identity]
    return Estimate(dataset, called, count, count * (1 + forwards), count * backwards, maps, disk, memory, asked)


def _first_readable(source: Source, model: Model) -> Sample | None:
    """The first sample that can be read and prepared for a model."""
    for id in source.ids:
        try:
            return model.prepare(source.dataset.load(id))
        except Exception:
            # A run will say in its row what is wrong with it.
            continue
    return None


def passes(combinations: Sequence[Combination], space: tuple[int, ...]) -> tuple[int, int]:
    """Forward and backward passes per sample.

    Explainers of one target with the same shared pass pay it once, and requests alike in all but the last word
    share a forward.
    """
    paid = {
        (item.target, item.explainer.shares or item.explainer.identity): item.explainer.cost(item.model, space)
        for item in combinations
    }
    requests = {(item.target, *request) for item in combinations for request in item.requests}
    forwards = len({request[:-1] for request in requests}) - len(requests)
    return forwards + sum(cost[0] for cost in paid.values()), sum(cost[1] for cost in paid.values())


def scoring(
    metrics: Sequence[Metric], model: Model, combinations: Sequence[Combination], space: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Forward and backward passes per sample of every metric that takes any, by name; explaining again is paid anew."""
    names, found = told_apart(metrics), {}
    explanations = [item.explainer.cost(model, space) for item in combinations]
    for metric in metrics:
        scored = explanations if "heatmap" in metric.needs else [(0, 0)]
        costs = [metric.cost(model, space, explanation) for explanation in scored]
        found[names[metric.identity]] = sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
    return {name: cost for name, cost in found.items() if any(cost)}


def peak(model: Model, sample: Sample, layers: list[str]) -> int:
    """Bytes of weights and of everything that one gradient pass over one image keeps, measured by running it."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images = torch.from_numpy(sample.image)[None]
    batch = Batch(model, [sample.id], images, [0], inputs=model.collate([sample]), layers=layers)
    view = batch.view
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = gradients(batch)
    observed = sum(layer.activation.nbytes + layer.gradient.nbytes for layer in found.layers.values())
    weights = sum(tensor.nbytes for network in (model.network, view.module) for tensor in network.state_dict().values())
    return int(weights + sum(kept.values()) + observed)
