"""The first half of a task: the loop over its heatmaps, which predicts, explains and commits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..batch import Batch
from ..errors import PluginError
from ..explainer import Explainer, heatmaps
from ..passes import release_layers
from ..plan.task import Combination, Unit
from ..records import Array, Explanation, Prediction, Sample
from .outcome import Failure
from .predictions import Predictions, commit_predictions, predict
from .targets import target_of
from .work import Work


@dataclass(frozen=True)
class Explained:
    """One sample's share of an explanation: the heatmap (*space), notes and kept arrays."""

    values: Array
    notes: Mapping[str, Any]
    kept: Mapping[str, Array]


def explain(work: Work) -> None:
    """Predict and explain batch by batch, then commit the predictions and every unit that is missing."""
    missing = [unit for unit in work.task.units if not work.run.has("heatmaps", unit.key)]
    if not missing and work.run.has("predictions", work.task.prediction):
        return
    results: dict[str, dict[str, Explained | Failure]] = {unit.key: {} for unit in missing}
    predictions: dict[str, Prediction | Failure] = {}
    for batch, samples in work.batches():
        with work.outcome.clock("passes"):
            predictions |= predict(work, batch)
            for unit, explained in _explained(work, batch, samples, predictions, missing):
                results[unit.key] |= explained
    commit_predictions(work, predictions)
    for unit in missing:
        _commit(work, unit, results[unit.key])


def _explained(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, missing: Sequence[Unit]
) -> Iterator[tuple[Unit, dict[str, Explained | Failure]]]:
    """The heatmaps of every missing unit, target by target; combinations of one target share their batch.

    Explainers that look at layers come first, and those that share a pass one after the other: what they share is
    freed before the others run.
    """
    for target in dict.fromkeys(unit.combination.target for unit in missing):
        units = [unit for unit in missing if unit.combination.target == target]
        aimed, failures = _aimed(work, batch, samples, predictions, units[0].combination)
        for unit, later in _ordered(units):
            yield unit, {**failures}
            if aimed is not None:
                yield unit, _heatmaps(work, aimed, unit.combination)
                _free(aimed, unit, later)


def _aimed(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, combination: Combination
) -> tuple[Batch | None, dict[str, Failure]]:
    """The batch at a combination's targets, without the samples for which the target is undefined."""
    targets: dict[str, int] = {}
    failures: dict[str, Failure] = {}
    for sample in samples:
        target = target_of(sample, predictions[sample.id], combination, work.model)
        if isinstance(target, Failure):
            failures[sample.id] = target
        else:
            targets[sample.id] = target
    if not targets:
        return None, failures
    index = [position for position, id in enumerate(batch.ids) if id in targets]
    part = batch if len(index) == len(batch) else batch.select(index)
    return part.at(targets=[targets[id] for id in part.ids]), failures


def _heatmaps(work: Work, batch: Batch, combination: Combination) -> dict[str, Explained | Failure]:
    """Heatmaps, or why there are none, by id."""
    explainer = combination.explainer

    def act(batch: Batch) -> dict[str, Explained | Failure]:
        explanation = batch.once(_explanation(explainer), lambda: explainer(batch))
        values = heatmaps(explanation, combination.reduction)
        shares = {id: _share(explanation, values[row], row) for row, id in enumerate(batch.ids)}
        return {id: _noted(share) for id, share in shares.items()} if batch.budget.halved else shares

    return work.divided(batch, act, explainer.short, _noted)


def _commit(work: Work, unit: Unit, results: Mapping[str, Explained | Failure]) -> None:
    """Commit one unit: maps (n, *space) with NaN where a case failed, and every case's status and notes."""
    task, samples, outcome = work.task, work.samples.all(), work.outcome
    entries = [results.get(id) or samples[id] for id in task.ids]
    space = next((sample.space for sample in samples.values() if isinstance(sample, Sample)), (1, 1))
    maps = [entry.values if isinstance(entry, Explained) else None for entry in entries]
    cases = [_case(id, entry) for id, entry in zip(task.ids, entries)]
    meta = unit.combination.describe() | {"ids": list(task.ids), "cases": cases}
    with work.run.commit("heatmaps", unit.key, meta) as folder:
        work.run.put_maps(folder, _stacked(maps, space))
        for name, arrays in _kept(entries).items():
            work.run.put_maps(folder, _stacked(arrays), f"kept_{name}.zarr")
    outcome.failures += sum(case["status"] in ("failed", "invalid") for case in cases)
    outcome.units.append(meta | {"key": unit.key})


def _ordered(units: Sequence[Unit]) -> Iterator[tuple[Unit, Sequence[Unit]]]:
    """Every unit with those that are left after it."""
    explainers = [unit.combination.explainer for unit in units]
    passes = [explainer.shares or explainer.identity for explainer in explainers]
    identities = [explainer.identity for explainer in explainers]

    def rank(number: int) -> tuple[bool, int, int]:
        layers = units[number].combination.layers
        return not layers, passes.index(passes[number]), identities.index(identities[number])

    ordered = [units[number] for number in sorted(range(len(units)), key=rank)]
    return ((unit, ordered[number + 1 :]) for number, unit in enumerate(ordered))


def _free(batch: Batch, unit: Unit, later: Sequence[Unit]) -> None:
    """Free what none of the later units asks for."""
    explainer, others = unit.combination.explainer, [unit.combination.explainer for unit in later]
    if explainer.identity not in [other.identity for other in others]:
        batch.forget(_explanation(explainer))
    if explainer.shares not in [other.shares for other in others]:
        batch.forget(("shared", explainer.shares))
    if not any(unit.combination.layers for unit in later):
        release_layers(batch)


def _noted(share: Explained | Failure) -> Explained | Failure:
    """A heatmap with the remark that memory did not suffice for more at once."""
    return replace(share, notes={**share.notes, "split": "out of memory"}) if isinstance(share, Explained) else share


def _explanation(explainer: Explainer) -> tuple[str, str]:
    """The key of an explanation among a batch's shared results."""
    return "explanation", explainer.identity


def _share(explanation: Explanation, values: Array, row: int) -> Explained | Failure:
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        return Failure(f"{count} of {values.size} values of the heatmap are not finite", "invalid")
    notes = {name: _note(name, entry[row]) for name, entry in explanation.notes.items()}
    if not values.any():
        notes["degenerate"] = 1.0
    kept = {name: np.asarray(torch.as_tensor(entry[row]).cpu()) for name, entry in explanation.kept.items()}
    return Explained(values, notes, kept)


def _note(name: str, value: Any) -> Any:
    """A note as JSON can write it, which knows no infinity; raises ``PluginError`` for more than a number or a word."""
    note = value.item() if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and value.size else value
    if not isinstance(note, (bool, int, float, str)):
        raise PluginError(f"the note {name!r} is {type(value).__name__}; allowed: a number or a word per sample")
    return str(note) if isinstance(note, float) and not np.isfinite(note) else note


def _case(id: str, entry: Explained | Failure | Sample) -> dict[str, Any]:
    if isinstance(entry, Explained):
        return {"id": id, "status": "valid", "reason": "", "notes": dict(entry.notes)}
    assert isinstance(entry, Failure)
    return {"id": id, "status": entry.status, "reason": entry.reason, "notes": {}}


def _kept(entries: Sequence[Any]) -> dict[str, list[Array | None]]:
    """Kept arrays by name, one per case, None for the cases without."""
    explained = [entry.kept if isinstance(entry, Explained) else {} for entry in entries]
    return {name: [kept.get(name) for kept in explained] for name in dict.fromkeys(chain(*explained))}


def _stacked(arrays: Sequence[Array | None], space: tuple[int, ...] = (1, 1)) -> Array:
    """Arrays (n, …) float32, smaller ones filled up with NaN; all NaN (n, *space) where there is none."""
    depth = max([array.ndim for array in arrays if array is not None], default=0)
    spread = {row: array[(None,) * (depth - array.ndim)] for row, array in enumerate(arrays) if array is not None}
    shapes = [array.shape for array in spread.values()] or [space]
    stacked = np.full((len(arrays), *map(max, zip(*shapes))), np.nan, np.float32)
    for row, array in spread.items():
        place: tuple[Any, ...] = (row, *map(slice, array.shape))
        stacked[place] = array
    return stacked
