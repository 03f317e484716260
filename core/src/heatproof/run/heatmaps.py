"""The first half of a task: predict, explain, and commit the predictions and heatmaps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..batch import OUT_OF_MEMORY, Batch
from ..digests import file_digest
from ..errors import ModelError, PluginError
from ..explainer import Explainer, heatmaps
from ..passes import logits, release_layers
from ..plan.task import Combination, Unit
from ..records import Array, Explanation, Prediction, Sample
from ..results.parquet import PREDICTION_COLUMNS, write_table
from .chunk import Chunk, Failure, label_indices


@dataclass(frozen=True)
class Explained:
    """One sample's share of an explanation: the heatmap (*space), notes and kept arrays."""

    values: Array
    notes: Mapping[str, Any]
    kept: Mapping[str, Array]


class Explaining:
    """Predictions and heatmaps of one chunk."""

    def __init__(self, chunk: Chunk):
        self.chunk = chunk

    def explain(self, missing: Sequence[Unit]) -> None:
        """Predict and explain batch by batch, then commit the predictions and every missing unit."""
        results: dict[str, dict[str, Explained | Failure]] = {unit.key: {} for unit in missing}
        predictions: dict[str, Prediction | Failure] = {}
        for batch, samples in self.chunk.batches():
            with self.chunk.clock("passes"):
                predictions |= self._predicted(batch)
                for unit, explained in self._explained(batch, samples, predictions, missing):
                    results[unit.key] |= explained
        self._commit_predictions(predictions)
        for unit in missing:
            self._commit_heatmaps(unit, results[unit.key])

    def _predicted(self, batch: Batch) -> dict[str, Any]:
        """Predictions, or why there are none, by id."""
        return self._divided(batch, self._predictions, "prediction")

    def _predictions(self, batch: Batch) -> dict[str, Prediction | Failure]:
        found = logits(batch).cpu().numpy()
        if len(found) != len(batch):
            raise ModelError(
                f"{self.chunk.model.short} gave logits of shape {found.shape} for {len(batch)} images; it must give "
                "one row of logits per image."
            )
        return {id: self._read(row) for id, row in zip(batch.ids, found)}

    def _read(self, row: Array) -> Prediction | Failure:
        return self.chunk.model.read(row) if np.isfinite(row).all() else Failure("the logits are not finite", "invalid")

    def _divided(self, batch: Batch, act: Callable[[Batch], dict[str, Any]], what: str) -> dict[str, Any]:
        """What ``act`` makes of a batch, by id; when it raises, the batch is split until the culprit alone fails."""
        try:
            return act(batch)
        except Exception as error:
            if len(batch) == 1:
                return {batch.ids[0]: self.chunk.failure(f"{what} of {batch.ids[0]}", error)}
            memory = isinstance(error, OUT_OF_MEMORY)
        # Only here, when the error is gone, are the tensors free that did not fit.
        middle = len(batch) // 2
        halves = batch.select(range(middle)), batch.select(range(middle, len(batch)))
        found = {id: made for half in halves for id, made in self._divided(half, act, what).items()}
        return {id: _noted(made) for id, made in found.items()} if memory else found

    def _explained(
        self,
        batch: Batch,
        samples: Sequence[Sample],
        predictions: Mapping[str, Prediction | Failure],
        missing: Sequence[Unit],
    ) -> Iterator[tuple[Unit, dict[str, Explained | Failure]]]:
        """The heatmaps of every missing unit, target by target; combinations of one target share their batch.

        Explainers that look at layers come first, and those that share a pass one after the other: what they share is
        freed before the others run.
        """
        for target in dict.fromkeys(unit.combination.target for unit in missing):
            units = [unit for unit in missing if unit.combination.target == target]
            at, failures = self._aimed(batch, samples, predictions, units[0].combination)
            for unit, later in self._ordered(units):
                yield unit, {**failures, **(self._heatmaps(at, unit.combination) if at is not None else {})}
                if at is not None:
                    self._free(at, unit, later)

    def _ordered(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Sequence[Unit]]]:
        """Every unit with those that are left after it."""
        explainers = [unit.combination.explainer for unit in units]
        shared, own = [each.shares or each.identity for each in explainers], [each.identity for each in explainers]
        places = [(not self._layers(unit), shared.index(a), own.index(b)) for unit, a, b in zip(units, shared, own)]
        ordered = [units[place] for place in sorted(range(len(units)), key=places.__getitem__)]
        return ((unit, ordered[place + 1 :]) for place, unit in enumerate(ordered))

    def _free(self, batch: Batch, unit: Unit, later: Sequence[Unit]) -> None:
        """Free what none of the later units asks for."""
        explainer, others = unit.combination.explainer, [each.combination.explainer for each in later]
        if explainer.identity not in [each.identity for each in others]:
            batch.forget(_explanation(explainer))
        if explainer.shares not in [each.shares for each in others]:
            batch.forget(("shared", explainer.shares))
        if not any(map(self._layers, later)):
            release_layers(batch)

    def _layers(self, unit: Unit) -> tuple[str, ...]:
        return tuple(unit.combination.explainer.layers(self.chunk.model))

    def _aimed(
        self,
        batch: Batch,
        samples: Sequence[Sample],
        predictions: Mapping[str, Prediction | Failure],
        combination: Combination,
    ) -> tuple[Batch | None, dict[str, Failure]]:
        """The batch at a combination's targets, without the samples for which the target is undefined."""
        found = {sample.id: self.chunk.target(sample, predictions[sample.id], combination) for sample in samples}
        index = [place for place, id in enumerate(batch.ids) if isinstance(found[id], int)]
        failures = {id: target for id, target in found.items() if isinstance(target, Failure)}
        if not index:
            return None, failures
        part = batch if len(index) == len(batch) else batch.select(index)
        return part.at(targets=[found[id] for id in part.ids]), failures  # type: ignore[misc]

    def _heatmaps(self, batch: Batch, combination: Combination) -> dict[str, Any]:
        """Heatmaps, or why there are none, by id."""
        explainer = combination.explainer

        def explain(batch: Batch) -> dict[str, Explained | Failure]:
            explanation = batch.once(_explanation(explainer), lambda: explainer(batch))
            values = heatmaps(explanation, combination.reduction)
            found = {id: _share(explanation, values[row], row) for row, id in enumerate(batch.ids)}
            return {id: _noted(made) for id, made in found.items()} if batch.budget.halved else found

        return self._divided(batch, explain, explainer.short)

    def _commit_predictions(self, predictions: Mapping[str, Prediction | Failure]) -> None:
        key = self.chunk.task.prediction
        if self.chunk.run.has("predictions", key):
            return
        unread = {id: made for id, made in self.chunk.samples.items() if isinstance(made, Failure)}
        found = {**unread, **predictions}
        rows = [self._prediction_row(id, found[id]) for id in self.chunk.task.ids]
        meta = {
            "dataset": self.chunk.task.source.dataset.describe(),
            "model": self.chunk.model.describe(),
            "files": self._files(),
        }
        with self.chunk.run.commit("predictions", key, meta) as folder:
            write_table(folder / "predictions.parquet", PREDICTION_COLUMNS, rows)

    def _prediction_row(self, id: str, prediction: Prediction | Failure) -> list[Any]:
        sample, patient = self.chunk.samples[id], self.chunk.task.source.dataset.group(id)
        label = label_indices(sample) if isinstance(sample, Sample) else None
        if isinstance(prediction, Failure):
            return [id, patient, label, None, None, None, prediction.status, prediction.reason]
        numbers = [prediction.decision, prediction.logits.tolist(), prediction.probabilities.tolist()]
        return [id, patient, label, *numbers, "valid", ""]

    def _space(self) -> tuple[int, ...]:
        """The grid, (1, 1) where no sample can be read."""
        return next((sample.space for sample in self.chunk.samples.values() if isinstance(sample, Sample)), (1, 1))

    def _files(self) -> dict[str, str]:
        """The digests of the files that were decoded, relative to the dataset's root where it has one."""
        root = self.chunk.task.source.dataset.root()
        sources = {
            source
            for sample in self.chunk.samples.values()
            if isinstance(sample, Sample)
            for source in _sources(sample)
        }
        paths = sorted(Path(source) for source in sources)
        return {_relative(path, root): file_digest(path) for path in paths if path.is_file()}

    def _commit_heatmaps(self, unit: Unit, results: Mapping[str, Explained | Failure]) -> None:
        """Commit one unit: maps (n, *space) with NaN where a case failed, and every case's status and notes."""
        made = [results.get(id) or self.chunk.samples[id] for id in self.chunk.task.ids]
        maps = [entry.values if isinstance(entry, Explained) else None for entry in made]
        cases = [_case(id, entry) for id, entry in zip(self.chunk.task.ids, made)]
        meta = unit.combination.describe() | {"ids": list(self.chunk.task.ids), "cases": cases}
        with self.chunk.run.commit("heatmaps", unit.key, meta) as folder:
            self.chunk.run.put_maps(folder, _stacked(maps, self._space()))
            for name, arrays in _kept(made).items():
                self.chunk.run.put_maps(folder, _stacked(arrays), f"kept_{name}.zarr")
        self.chunk.outcome.failures += sum(case["status"] in ("failed", "invalid") for case in cases)
        self.chunk.outcome.units.append(meta | {"key": unit.key})


def _noted(made: Any) -> Any:
    """A heatmap with the remark that memory did not suffice for more at once."""
    return replace(made, notes={**made.notes, "split": "out of memory"}) if isinstance(made, Explained) else made


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


def _case(id: str, made: Explained | Failure | Sample) -> dict[str, Any]:
    if isinstance(made, Explained):
        return {"id": id, "status": "valid", "reason": "", "notes": dict(made.notes)}
    assert isinstance(made, Failure)
    return {"id": id, "status": made.status, "reason": made.reason, "notes": {}}


def _kept(made: Sequence[Any]) -> dict[str, list[Array | None]]:
    """Kept arrays by name, one per case, None for the cases without."""
    explained = [entry.kept if isinstance(entry, Explained) else {} for entry in made]
    return {name: [kept.get(name) for kept in explained] for name in dict.fromkeys(chain(*explained))}


def _stacked(arrays: Sequence[Array | None], space: tuple[int, ...] = (1, 1)) -> Array:
    """Arrays (n, …) float32, smaller ones filled up with NaN; all NaN (n, *space) where there is none."""
    shapes = [array.shape for array in arrays if array is not None] or [space]
    depth = max(map(len, shapes))
    padded = [(1,) * (depth - len(shape)) + shape for shape in shapes]
    stacked = np.full((len(arrays), *map(max, zip(*padded))), np.nan, np.float32)
    for row, array in enumerate(arrays):
        if array is not None:
            spread = array.reshape((1,) * (depth - array.ndim) + array.shape)
            place: tuple[Any, ...] = (row, *map(slice, spread.shape))
            stacked[place] = spread
    return stacked


def _sources(sample: Sample) -> Iterator[str]:
    if sample.geometry is not None and sample.geometry.source:
        yield sample.geometry.source
    yield from (annotation.source for annotation in sample.annotations if annotation.source)


def _relative(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)
