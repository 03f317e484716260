"""The memory that a run takes, estimated before it starts, and the images per pass that keep it below a bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..errors import HeatproofError, ModelError
from ..imaging.images import READERS
from ..model import Model
from ..passes import gradients
from ..plan.plan import Plan
from ..plan.sample_cache import configured, first_readable
from ..plan.task import Combination, Source
from ..records import Sample
from ..regions import whole
from ..results.store import Run
from .batch_size import candidates, known_rows, on_device
from .execution import device_of

BASE = 800_000_000
"""Bytes of a process besides the network and its passes: interpreter, libraries, tables (docs/benchmarks/peaks.py)."""


@dataclass(frozen=True)
class Demand:
    """Bytes of a dataset and model: ``fixed`` per process, ``image`` per image; ``space`` of a prepared image."""

    source: Source
    model: Model
    fixed: int
    image: int
    workers: int
    space: tuple[int, ...]

    def total(self, rows: int) -> int:
        """The bytes of all processes with this number of images per pass; ``workers`` have a parent process."""
        return max(1, self.workers) * (self.fixed + rows * self.image) + BASE * (self.workers > 0)


def most_rows(plan: Plan) -> dict[str, int]:
    """Model identity → the most images per pass below the bound; empty without a bound, which needs no estimate."""
    most: dict[str, int] = {}
    if plan.config.memory is None:
        return most
    jobs = [*((source, model, items) for source, model, items, _ in plan.comparing()), *plan.jobs()]
    for source, model, combinations in reversed(jobs):  # the network of the last model is built already
        demand = demand_of(plan, source, model, combinations)
        if demand is not None:
            rows = fitting_rows(plan, demand)
            most[model.identity] = min(rows, most.get(model.identity, rows))
        if len(jobs) > 1:
            model.forget()
    return most


def fitting_rows(plan: Plan, demand: Demand) -> int:
    """The most images per pass below the bound of the config; raises ``HeatproofError`` if there are none."""
    config = plan.config
    device = device_of(config)
    rows = known_rows(Run(config.output), demand.model, device) if config.rows == "auto" else int(config.rows)
    counts = candidates(device) if rows is None else (rows,)
    fitting = [count for count in counts if config.memory is None or demand.total(count) <= config.memory * 1e9]
    if fitting:
        return max(fitting)
    needed = f"takes about {demand.total(min(counts)) / 1e9:.2f} GB with images per pass: {min(counts)}"
    raise HeatproofError(
        f"{demand.source.dataset.short} × {demand.model.short} {needed}, more than memory: {config.memory:g} GB; "
        "raise it, or lower chunk, the size of images, or the number of explainers, layers or workers."
    )


def demand_of(plan: Plan, source: Source, model: Model, combinations: Sequence[Combination]) -> Demand | None:
    """Estimate the memory by a gradient pass over the first sample that can be read; None without such a sample."""
    config = plan.config
    sample = first_readable(source.dataset, model, source.ids, configured(config.cache, config.cache_limit))
    if sample is None:
        return None
    weights, graph, observed = _pass(model, sample, sorted({*chain.from_iterable(row.layers for row in combinations)}))
    targets = len({row.target for row in combinations}) or 1
    most = max((row.explainer.memory for row in combinations), default=1.0)
    chunk = min(config.chunk, len(source.ids))
    heatmap = int(np.prod(sample.space)) * 4
    stored = chunk * (_bytes(sample) + sum(heatmap + row.explainer.stored(sample.image) for row in combinations))
    native = sample.geometry.native if sample.geometry else sample.space
    decoding = min(READERS, chunk) * 8 * len(sample.image) * int(np.prod(native))
    image = int(max(2 * graph + observed, most * graph)) + 4 * targets * sample.image.size * model.dtype.itemsize
    workers = min(getattr(config.executor.params, "workers", 0), -(-len(source.ids) // chunk))
    copies = 2 + sum(metric.copies(model) for metric in plan.config.measuring)
    return Demand(source, model, BASE + copies * weights + stored + decoding, image, workers, sample.space)


def _pass(model: Model, sample: Sample, layers: list[str]) -> tuple[int, int, int]:
    """The bytes of the weights in both views, of what autograd keeps of one image, and of the observed layers."""
    stored: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images = torch.from_numpy(sample.image)[None].to(model.dtype)
    inputs = on_device(model.collate([sample]), "cpu", model.dtype)
    batch = Batch(model, [sample.id], images, [0], inputs=inputs, region=whole(model, images), layers=layers)
    try:
        weights = [*model.network.state_dict().values(), *batch.view.module.state_dict().values()]
        with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
            result = gradients(batch)
    except HeatproofError:
        raise
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        raise ModelError(f"the memory of {model.short} cannot be estimated ({fault}); leave memory out.") from error
    for tensor in weights:
        stored.pop(tensor.untyped_storage().data_ptr(), None)
    observed = sum(layer.activation.nbytes + layer.gradient.nbytes for layer in result.layers.values())
    distinct = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in weights}
    return sum(distinct.values()), sum(stored.values()), observed


def _bytes(sample: Sample) -> int:
    """The bytes of the arrays of a sample."""
    annotations = (annotation.values for annotation in sample.annotations)
    return sum(getattr(array, "nbytes", 0) for array in (sample.image, sample.field, *annotations))
