"""The model randomization test: does a heatmap change when the model forgets what it has learned?"""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
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

from .ranking import examined, finite
from .similarity import spearman, ssim

NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
MEASURES = ("absolute_spearman", "spearman", "ssim")


class ModelRandomizationParams(Params):
    """Layers are drawn anew from the output down, in at most ``stages`` groups (None: each by itself): ``cascading``,
    group by group until all are random, or ``independent``, one group at a time while the others keep their weights.
    """

    order: Literal["cascading", "independent"] = "cascading"
    stages: int | None = Field(10, ge=1)


class ModelRandomization(Metric[ModelRandomizationParams]):
    """How much does the heatmap of a model whose layers were drawn anew look like the original? The less the better.

    Measured are the rank correlation ``spearman``, that of absolute values ``absolute_spearman``, and structural
    similarity ``ssim``, each with its mean over the stages and by stage; a stage whose heatmap is constant or undefined
    has none, and ``constant`` is the share of such stages. Only the sample's field counts. Weights are drawn by the
    seed and the layer's name; a normalisation layer is reset together with the layer before it.

    Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.
    """

    needs = frozenset({"heatmap", "explainer"})
    higher_is_better = False
    primary = "absolute_spearman"

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """One explanation per stage."""
        count = len(self.groups(model))
        return count * explanation[0], count * explanation[1]

    def measure(self, case: Case) -> dict[str, float | Array]:
        """The means, and by stage (stage,) each similarity; ``Undefined`` for a constant heatmap."""
        if "model_free" in case.traits:
            raise Undefined("the explainer never looks at the model, so that no change of it can show")
        assert case.batch is not None
        heat, field = finite(case), examined(case.sample)
        if np.ptp(heat[field]) == 0:
            raise Undefined("the heatmap is constant, so that no other can be compared with it")
        found = [alike(heat, self._explained(case, model), field) for model in self.models(case.batch)]
        if not found:
            raise Undefined("the model has no weights that could be drawn anew")
        stages = dict(zip(MEASURES, np.transpose(found)))
        means = {name: _mean(values) for name, values in stages.items()}
        constant = {"constant": float(np.isnan(stages["spearman"]).mean())}
        return means | constant | {f"{name}_stages": values for name, values in stages.items()}

    def models(self, batch: Batch) -> Iterator[Model]:
        """The model of each stage; they are made once per model and share what is not drawn anew."""
        model = batch.model
        # The network is put where the images are before copies are made of it.
        model.view(batch.images, batch.inputs)
        for group in self.groups(model):
            before = batch.model if self.params.order == "independent" else model
            model = randomized(before, group, batch.seed)
            yield model

    def groups(self, model: Model) -> list[list[str]]:
        """The names of the modules that are drawn anew at each stage."""
        found = layers(model)[::-1]
        count = min(self.params.stages or len(found), len(found))
        parts = np.array_split(np.arange(len(found)), count) if found else []
        return [[name for index in part for name in found[index]] for part in parts]

    def _explained(self, case: Case, model: Model) -> Array:
        """The heatmap (*space) of the case by another model."""
        batch = case.batch
        assert batch is not None
        assert case.explain is not None
        again = Batch(
            model, batch.ids, batch.images, batch.targets, inputs=batch.inputs, field=batch.field, rows=batch.budget,
            seed=batch.seed, output=batch.output,
        )  # fmt: skip
        try:
            return np.asarray(case.explain(again)[0], dtype=np.float64)
        except Undefined:
            return np.full(batch.space, np.nan)


def randomized(model: Model, modules: Sequence[str], seed: int) -> Model:
    """The model with the weights of these modules drawn anew, by ``seed`` and their names; made once."""
    return model.variant(["randomized", list(modules), seed], partial(redrawn, modules=modules, seed=seed))


def redrawn(network: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """A copy whose ``modules`` have new weights, as their own ``reset_parameters`` draws them.

    Parameters of a module without it get normal values with their own mean and standard deviation.
    """
    copied = copy.deepcopy(network)
    for name in modules:
        # On the processor, whose generator draws the same on every machine.
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
    """The modules that hold weights, in order of evaluation; a normalisation stands with the layer before it.

    What a network never evaluates, such as an output for training alone, is left out. Where it cannot be traced they
    are in the order in which it lists them.
    """
    modules = {name: module for name, module in model.network.named_modules() if [*module.parameters(recurse=False)]}
    found: list[list[str]] = []
    for name in _evaluated(model, modules):
        if found and isinstance(modules[name], NORMS):
            found[-1].append(name)
        else:
            found.append([name])
    return found


def _evaluated(model: Model, modules: dict[str, nn.Module]) -> Sequence[str]:
    """The names of modules in the order in which the traced network reads their own weights."""
    graph = model.outline.module
    if graph is None:
        return [*modules]
    owned = ((name, module.parameters(recurse=False)) for name, module in reversed(modules.items()))
    owners = {id(weight): name for name, weights in owned for weight in weights}
    read: list[Any] = []
    for node in graph.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            held = attribute(graph, str(node.target))
            read += held.parameters() if isinstance(held, nn.Module) else [held]
    return [*dict.fromkeys(owners[id(weight)] for weight in read if id(weight) in owners)]


def alike(one: Array, other: Array, field: Array) -> tuple[float, float, float]:
    """The ``MEASURES`` of two heatmaps (*space); NaN for another that is constant or not finite."""
    if not np.isfinite(other).all() or np.ptp(other[field]) == 0:
        return np.nan, np.nan, np.nan
    a, b = one[field], other[field]
    return spearman(np.abs(a), np.abs(b)), spearman(a, b), ssim(one, other, field)


def _mean(values: Array) -> float:
    """The mean of the values that are defined; NaN where none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
