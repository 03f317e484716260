"""The model randomization test: does a heatmap change when the model's weights are drawn anew?"""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import Undefined
from heatproof.metric import Case, Metric
from heatproof.model import Model
from heatproof.network.graph import attribute
from heatproof.network.modules import BATCH_NORMS
from heatproof.records import Array
from heatproof.seeding import key

from .ranking import examined_field, finite_heatmap
from .similarity import spearman, ssim

NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
MEASURES = ("absolute_spearman", "spearman", "ssim")


class ModelRandomizationParams(Params):
    """Weights are drawn anew from the output down, in at most ``stages`` groups of layers (None: one layer per group).

    ``cascading`` adds group by group until all are random; ``independent`` draws one group and keeps all others.
    """

    order: Literal["cascading", "independent"] = "cascading"
    stages: int | None = Field(10, ge=1, le=10_000)


class ModelRandomization(Metric[ModelRandomizationParams]):
    """How similar to the original is the heatmap of a model with random weights? The less the better.

    The measures are the rank correlation ``spearman``, that of absolute values ``absolute_spearman``, and structural
    similarity ``ssim``: the mean over the stages, and the values by stage. They are NaN at a stage with a constant or
    undefined heatmap; ``constant`` is the share of such stages. Only the sample's field counts. Weights are drawn by
    the seed and the layer's name; a normalisation layer is reset together with the layer before it.

    Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.
    """

    revision = 2
    needs = frozenset({"heatmap", "explainer"})
    higher_is_better = False
    primary = "absolute_spearman"

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one explanation per stage."""
        count = len(self.groups(model))
        return count * explanation[0], count * explanation[1]

    def copies(self, model: Model) -> int:
        """One per stage, at most: equal weights of the stages share memory."""
        return len(self.groups(model))

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return each similarity's mean and values by stage (stage,); raises ``Undefined`` for a constant heatmap."""
        if "model_free" in case.traits:
            raise Undefined("the explainer does not use the model: new weights cannot change the heatmap")
        assert case.batch is not None
        heatmap = finite_heatmap(case)
        field = examined_field(case.sample)
        if np.ptp(heatmap[field]) == 0:
            raise Undefined("the heatmap is constant: it cannot be compared with others")
        rows = [similarities(heatmap, self._explained(case, model), field) for model in self.models(case.batch)]
        if not rows:
            raise Undefined("the model has no weights that can be drawn again")
        stages = dict(zip(MEASURES, np.transpose(rows)))
        means = {name: _mean(values) for name, values in stages.items()}
        constant = {"constant": float(np.isnan(stages["spearman"]).mean())}
        return means | constant | {f"{name}_stages": values for name, values in stages.items()}

    def models(self, batch: Batch) -> Iterator[Model]:
        """Yield the model of each stage; each is built once per model."""
        model = batch.model
        # Move the network to the device of the images before it is copied.
        model.view(batch.images, batch.inputs)
        for group in self.groups(model):
            if self.params.order == "independent":
                model = batch.model
            model = randomized(model, group, batch.seed)
            yield model

    def groups(self, model: Model) -> list[list[str]]:
        """The names of the modules that are drawn anew at each stage."""
        last_first = layers(model)[::-1]
        if not last_first:
            return []
        count = min(self.params.stages or len(last_first), len(last_first))
        parts = np.array_split(np.arange(len(last_first)), count)
        return [[*chain.from_iterable(last_first[index] for index in part)] for part in parts]

    def _explained(self, case: Case, model: Model) -> Array:
        """Compute the heatmap (*space) of the case by another model; NaN where it is undefined."""
        batch = case.batch
        assert batch is not None
        assert case.explain is not None
        again = Batch(
            model, batch.ids, batch.images, batch.targets, inputs=batch.inputs, field=batch.field,
            region=batch.region, rows=batch.budget, seed=batch.seed, output=batch.output,
        )  # fmt: skip
        try:
            return np.asarray(case.explain(again)[0], dtype=np.float64)
        except Undefined:
            return np.full(batch.space, np.nan)


def randomized(model: Model, modules: Sequence[str], seed: int) -> Model:
    """Return the model with the weights of these modules drawn anew, by ``seed`` and their names; built once."""
    return model.variant(["randomized", list(modules), seed], partial(redrawn, modules=modules, seed=seed))


def redrawn(network: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """Return a copy with new weights in ``modules``, drawn by their ``reset_parameters``.

    In a module without this method parameters are drawn from a normal distribution with their mean and deviation.
    """
    copied = copy.deepcopy(network)
    for name in modules:
        # On the CPU, where the generator gives the same numbers on every machine.
        fresh: Any = copy.deepcopy(copied.get_submodule(name)).cpu()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(key(seed, "randomized", name) % 2**63)
            if hasattr(fresh, "reset_parameters"):
                fresh.reset_parameters()
            else:
                for parameter in fresh.parameters(recurse=False):
                    parameter.normal_(float(parameter.mean()), float(parameter.std(correction=0)))
        copied.get_submodule(name).load_state_dict(fresh.state_dict())
    return copied


def layers(model: Model) -> list[list[str]]:
    """List the modules with weights in order of evaluation; a normalisation is grouped with the layer before it.

    Modules that are never evaluated, such as an output for training alone, are left out. A network that cannot be
    traced has its modules in the order of ``named_modules``.
    """
    modules = {name: module for name, module in model.network.named_modules() if [*module.parameters(recurse=False)]}
    groups: list[list[str]] = []
    for name in _evaluated(model, modules):
        if groups and isinstance(modules[name], NORMS):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _evaluated(model: Model, modules: dict[str, nn.Module]) -> Sequence[str]:
    """List the names of modules in the order in which the traced network reads their weights."""
    graph = model.outline.module
    if graph is None:
        return [*modules]
    owners: dict[int, str] = {}
    # Reversed: the first module owns a weight that several modules share.
    for name, module in reversed(modules.items()):
        owners |= dict.fromkeys(map(id, module.parameters(recurse=False)), name)
    weights: list[Any] = []
    for node in graph.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            target = attribute(graph, str(node.target))
            if isinstance(target, nn.Module):
                weights += target.parameters()
            else:
                weights.append(target)
    return [*dict.fromkeys(owners[id(weight)] for weight in weights if id(weight) in owners)]


def similarities(original: Array, heatmap: Array, field: Array) -> tuple[float, float, float]:
    """Compute the ``MEASURES`` of a heatmap (*space) against the original; NaN where it is constant or not finite."""
    if not np.isfinite(heatmap).all() or np.ptp(heatmap[field]) == 0:
        return np.nan, np.nan, np.nan
    a = original[field]
    b = heatmap[field]
    return spearman(np.abs(a), np.abs(b)), spearman(a, b), ssim(original, heatmap, field)


def _mean(values: Array) -> float:
    """The mean of the defined values; NaN where there are none."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan")
    return float(defined.mean())
