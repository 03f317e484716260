"""The first half of a task: predict and explain its samples, and commit predictions and heatmaps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..batch import Batch
from ..errors import Interference, PluginError
from ..explainer import Explainer, heatmaps
from ..passes import release_layers
from ..plan.task import Combination, Unit
from ..records import Array, Explanation, Prediction, Sample
from ..regions import parted
from .outcome import Failure
from .predictions import Predictions, commit_predictions, predict
from .regions import over_regions, with_region
from .targets import target_of
from .work import Work


@dataclass(frozen=True)
class Explained:
    """The explanation of one sample: its heatmap (*space), notes and kept arrays."""

    values: Array
    notes: Mapping[str, Any]
    kept: Mapping[str, Array]


Entry = tuple[Unit, dict[str, Explained | Failure]]
"""A unit with the explanations of some samples by id."""


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
            for unit, explained in _trusted(work, batch, samples, predictions, missing):
                results[unit.key] |= explained
    commit_predictions(work, predictions)
    for unit in missing:
        _commit(work, unit, results[unit.key])


def _trusted(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, missing: Sequence[Unit]
) -> Iterator[Entry]:
    """The heatmaps of every missing unit; if an explainer changes what others use, each unit gets a batch of its own.

    The explainer then fails alone, and the heatmaps of the others are the same to the bit as without it.
    """
    together = [unit for unit in missing if unit.key not in work.distrusted]
    alone = [unit for unit in missing if unit.key in work.distrusted]
    try:
        yield from _verified(work, batch, samples, predictions, together)
    except Interference:
        work.weights.recover()
        alone = list(missing)
    for unit in alone:
        fresh = work.batch(samples)
        try:
            yield from _verified(work, fresh, samples, predictions, [unit])
        except Interference as error:
            work.weights.recover()
            work.distrusted.add(unit.key)
            failure = work.outcome.failure(f"{unit.combination.explainer.short} of {', '.join(fresh.ids)}", error)
            yield unit, dict.fromkeys(fresh.ids, failure)


def _verified(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, units: Sequence[Unit]
) -> list[Entry]:
    """The heatmaps of units that share a batch; raises ``Interference`` if any of them changed what others use."""
    work.weights.seal()
    entries = list(_explained(work, batch, samples, predictions, units))
    names = ", ".join(dict.fromkeys(unit.combination.explainer.short for unit in units))
    if work.weights.damaged():
        raise Interference(f"{names} changes weights or buffers of the model; let it work on a copy.")
    return entries


def _explained(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, missing: Sequence[Unit]
) -> Iterator[Entry]:
    """The heatmaps of some units, target by target; units of one target share their batch."""
    for target in dict.fromkeys(unit.combination.target for unit in missing):
        units = [unit for unit in missing if unit.combination.target == target]
        targeted, failures = _targeted(work, batch, samples, predictions, units[0].combination)
        for unit, later in _ordered(units):
            yield unit, {**failures}
            if targeted is not None:
                yield unit, _heatmaps(work, targeted, unit)
                _free(targeted, unit, later)
        if targeted is not None and targeted.damaged():
            names = ", ".join(dict.fromkeys(unit.combination.explainer.short for unit in units))
            raise Interference(f"{names} changes its batch or shared results; let it work on a copy.")


def _targeted(
    work: Work, batch: Batch, samples: Sequence[Sample], predictions: Predictions, combination: Combination
) -> tuple[Batch | None, dict[str, Failure]]:
    """The batch with a combination's targets, and by id the failures of samples without the target."""
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
    if failures:
        batch = batch.select([index for index, id in enumerate(batch.ids) if id in targets])
    batch = batch.at(targets=[targets[id] for id in batch.ids])
    if combination.model_free or not parted(combination.target)[1]:
        return batch, failures
    over, without = over_regions(work, batch, {sample.id: sample for sample in samples}, combination.target)
    return over, failures | without


def _heatmaps(work: Work, batch: Batch, unit: Unit) -> dict[str, Explained | Failure]:
    """The explanations of a batch by id, or their failures."""
    explainer = unit.combination.explainer

    def act(batch: Batch) -> dict[str, Explained | Failure]:
        with work.bounded(unit.key, explainer.short):
            explanation = batch.once(_shared_key(explainer), lambda: explainer(batch))
            explanation = with_region(explanation, batch)
        values = heatmaps(explanation, unit.combination.reduction)
        explained = {id: _explanation_of(row, explanation, values[row]) for row, id in enumerate(batch.ids)}
        if batch.budget.halved:
            return {id: _note_split(entry) for id, entry in explained.items()}
        return explained

    return work.divided(batch, act, explainer.short, _note_split)


def _commit(work: Work, unit: Unit, results: Mapping[str, Explained | Failure]) -> None:
    """Commit one unit: heatmaps (n, *space), NaN where a case failed, and every case's status and notes."""
    ids = work.task.ids
    samples = work.samples.all()
    entries = [results.get(id) or samples[id] for id in ids]
    space = next((sample.space for sample in samples.values() if isinstance(sample, Sample)), (1, 1))
    explained = {row: entry for row, entry in enumerate(entries) if isinstance(entry, Explained)}
    maps = {row: entry.values for row, entry in explained.items()}
    cases = [_case(id, entry) for id, entry in zip(ids, entries)]
    meta = unit.combination.describe() | {"ids": list(ids), "cases": cases, "predictions": work.task.prediction}
    with work.run.commit("heatmaps", unit.key, meta) as folder:
        work.run.put_maps(folder, _stacked(len(ids), maps, space))
        for name in dict.fromkeys(chain(*(entry.kept for entry in explained.values()))):
            arrays = {row: entry.kept[name] for row, entry in explained.items() if name in entry.kept}
            work.run.put_maps(folder, _stacked(len(ids), arrays), f"kept_{name}.zarr")
    work.outcome.failures += sum(case["status"] in ("failed", "invalid") for case in cases)
    work.outcome.units.append(meta | {"key": unit.key})


def _ordered(units: Sequence[Unit]) -> Iterator[tuple[Unit, Sequence[Unit]]]:
    """Every unit with the units after it: layers first, then by shared pass, to free shared results early."""
    explainers = [unit.combination.explainer for unit in units]
    passes = [explainer.shares or explainer.identity for explainer in explainers]
    identities = [explainer.identity for explainer in explainers]

    def rank(index: int) -> tuple[bool, int, int]:
        layers = units[index].combination.layers
        return not layers, passes.index(passes[index]), identities.index(identities[index])

    ordered = [units[index] for index in sorted(range(len(units)), key=rank)]
    return ((unit, ordered[index + 1 :]) for index, unit in enumerate(ordered))


def _free(batch: Batch, unit: Unit, later: Sequence[Unit]) -> None:
    """Free the shared results of a unit that no later unit needs."""
    explainer = unit.combination.explainer
    others = [unit.combination.explainer for unit in later]
    if explainer.identity not in [other.identity for other in others]:
        batch.forget(_shared_key(explainer))
    if explainer.shares not in [other.shares for other in others]:
        batch.forget(("shared", explainer.shares))
    if not any(unit.combination.layers for unit in later):
        release_layers(batch)


def _note_split(entry: Explained | Failure) -> Explained | Failure:
    """Add the note that the batch was split because memory ran out."""
    if isinstance(entry, Failure):
        return entry
    return replace(entry, notes={**entry.notes, "split": "out of memory"})


def _shared_key(explainer: Explainer) -> tuple[str, str]:
    """The key of an explanation among a batch's shared results."""
    return "explanation", explainer.identity


def _explanation_of(row: int, explanation: Explanation, values: Array) -> Explained | Failure:
    """The explanation of one row of a batch, with its heatmap ``values``; a failure if they are not finite."""
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        return Failure(f"{count} of {values.size} values of the heatmap are not finite", "invalid")
    notes = {name: _note(name, entry[row]) for name, entry in explanation.notes.items()}
    if not values.any():
        notes["degenerate"] = 1.0
    arrays = {name: torch.as_tensor(entry[row]).cpu().numpy().copy() for name, entry in explanation.kept.items()}
    return Explained(values, notes, arrays)


def _note(name: str, value: Any) -> Any:
    """A note for JSON, which has no infinity and no NaN; raises ``PluginError`` for anything but a number or a word."""
    note = value.item() if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and value.size else value
    if not isinstance(note, (bool, int, float, str)):
        raise PluginError(f"the note {name!r} has type {type(value).__name__}; allowed: a number or a word per sample")
    if isinstance(note, float) and not np.isfinite(note):
        return str(note)
    return note


def _case(id: str, entry: Explained | Failure | Sample) -> dict[str, Any]:
    if isinstance(entry, Explained):
        return {"id": id, "status": "valid", "reason": "", "notes": dict(entry.notes)}
    assert isinstance(entry, Failure)
    return {"id": id, "status": entry.status, "reason": entry.reason, "notes": {}}


def _stacked(count: int, arrays: Mapping[int, Array], space: tuple[int, ...] = (1, 1)) -> Array:
    """Arrays by row as one array (count, …) float32, padded with NaN; all NaN (count, *space) without arrays."""
    depth = max((array.ndim for array in arrays.values()), default=0)
    expanded = {row: array[(None,) * (depth - array.ndim)] for row, array in arrays.items()}
    shapes = [array.shape for array in expanded.values()] or [space]
    stacked = np.full((count, *map(max, zip(*shapes))), np.nan, np.float32)
    for row, array in expanded.items():
        index: tuple[Any, ...] = (row, *map(slice, array.shape))
        stacked[index] = array
    return stacked
