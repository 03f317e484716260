"""What a worker does with a task: explain what is missing, then score the heatmaps as the store returns them."""

import json
import time
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import Undefined
from ..explainer import heatmaps
from ..metric import Case, Metric
from ..plan.task import ASKING, Combination, Task, Unit
from ..records import Array, Heatmap, Prediction, Sample
from ..results.parquet import SCORE_COLUMNS, read_table, write_table
from ..results.store import Run
from .chunk import Chunk, Failure, Outcome
from .heatmaps import Explaining


def perform(folder: Path, task: Task) -> Outcome:
    """Do everything of a task that is not committed yet."""
    start = time.perf_counter()
    chunk = Chunk(Run(folder), task)
    missing = [unit for unit in task.units if not chunk.run.has("heatmaps", unit.key)]
    if missing or not chunk.run.has("predictions", task.prediction):
        Explaining(chunk).explain(missing)
    Scoring(chunk).score()
    chunk.outcome.seconds["all"] += time.perf_counter() - start
    return chunk.outcome


def lose(folder: Path, task: Task, reason: str) -> Outcome:
    """Commit a task that cannot be done as failed cases with a reason."""
    chunk = Chunk(Run(folder), task)
    chunk.samples = dict.fromkeys(task.ids, Failure(reason))
    missing = [unit for unit in task.units if not chunk.run.has("heatmaps", unit.key)]
    Explaining(chunk).explain(missing)
    Scoring(chunk).score()
    chunk.outcome.messages.append(f"{task.source.dataset.short} × {task.model.short}: {reason}")
    return chunk.outcome


class Scoring:
    """The scores of one chunk, from its committed heatmaps and predictions."""

    def __init__(self, chunk: Chunk):
        self.chunk = chunk

    def score(self) -> None:
        """Commit every score unit that is missing."""
        task = self.chunk.task
        for metric in task.metrics:
            self._score(task.scores(metric), metric, None)
        for unit in task.units:
            for metric in unit.metrics:
                self._score(unit.scores(metric), metric, unit)

    def _score(self, key: str, metric: Metric, unit: Unit | None) -> None:
        """Score every case of the chunk from what the store holds, and commit the rows."""
        if self.chunk.run.has("scores", key):
            return
        task = self.chunk.task
        maps = self.chunk.run.maps(unit.key) if unit is not None else None
        rows = []
        for row, (id, failure, notes) in enumerate(self._stored_cases(unit)):
            heatmap = None if maps is None else Heatmap(maps[row])
            place = [f"heatmaps/{unit.key}/maps.zarr", row] if unit is not None else [None, None]
            for entry in self._entries(metric, id, failure, heatmap, unit):
                rows.append([id, task.source.dataset.group(id), *entry, notes, *place])
        meta = {
            "metric": metric.describe(),
            "heatmaps": unit.key if unit else None,
            "predictions": task.prediction,
        }
        with self.chunk.run.commit("scores", key, meta) as folder:
            write_table(folder / "scores.parquet", SCORE_COLUMNS, rows)

    def _stored_cases(self, unit: Unit | None) -> list[tuple[str, Failure | None, str]]:
        """Id, failure and notes (JSON) of every case, as committed."""
        if unit is None:
            return [(id, None, "{}") for id in self.chunk.task.ids]
        return [
            (
                case["id"],
                None if case["status"] == "valid" else Failure(case["reason"], case["status"]),
                json.dumps(case["notes"], sort_keys=True),
            )
            for case in self.chunk.run.meta("heatmaps", unit.key)["cases"]
        ]

    @cached_property
    def _predictions(self) -> dict[str, Prediction | Failure]:
        """The chunk's predictions as the store returns them."""
        table = read_table(self.chunk.run.unit("predictions", self.chunk.task.prediction) / "predictions.parquet")
        rows = (dict(zip(table, values)) for values in zip(*table.values()))
        return {row["case"]: _stored_prediction(row, self.chunk.model.classes) for row in rows}

    def _entries(
        self, metric: Metric, id: str, failure: Failure | None, heatmap: Heatmap | None, unit: Unit | None
    ) -> list[list[Any]]:
        """Measure, value, status, reason and array of every row that a case makes."""
        sample, prediction = self.chunk.samples[id], self._predictions[id]
        if failure is None and isinstance(sample, Failure):
            failure = sample
        if failure is None and isinstance(prediction, Failure) and metric.needs & ASKING:
            failure = prediction
        if failure is None:
            try:
                return self._measured(metric, sample, prediction, heatmap, unit)  # type: ignore[arg-type]
            except Exception as error:
                failure = self.chunk.failure(f"{metric.short} of {id}", error)
        return [[metric.primary, None, failure.status, failure.reason, None]]

    def _measured(
        self, metric: Metric, sample: Sample, prediction: Prediction | Failure, heatmap: Heatmap | None,
        unit: Unit | None,
    ) -> list[list[Any]]:  # fmt: skip
        """The rows of a case that can be measured."""
        known = prediction if isinstance(prediction, Prediction) else None
        classes = self.chunk.task.source.dataset.classes
        case = Case(sample, known, heatmap, **self._asked(metric, sample, prediction, unit), classes=classes)
        with self.chunk.clock("metrics"):
            measured = metric.measure(case)
        if not measured:
            raise Undefined(f"{metric.short} measured nothing")
        return [_entry(name, np.asarray(value, dtype=np.float64)) for name, value in measured.items()]

    def _asked(
        self, metric: Metric, sample: Sample, prediction: Prediction | Failure, unit: Unit | None
    ) -> dict[str, Any]:
        """The batch and the way to explain again, for metrics that ask the model or the explainer."""
        if not metric.needs & {"model", "explainer"}:
            return {}
        batch = self.chunk.batch([sample])
        if unit is None:
            return {"batch": batch}
        target = self.chunk.target(sample, prediction, unit.combination)
        if isinstance(target, Failure):
            raise Undefined(target.reason)
        asked = {"batch": batch.at(targets=[target])}
        if "explainer" not in metric.needs:
            return asked
        return asked | {"explain": partial(_again, unit.combination), "traits": unit.combination.explainer.traits}


def _again(combination: Combination, batch: Batch) -> Array:
    """The heatmaps (n, *space) of a batch, made as the combination's stored ones."""
    own = batch.at(layers=combination.explainer.layers(batch.model))
    return heatmaps(combination.explainer(own), combination.reduction)


def _entry(name: str, value: Array) -> list[Any]:
    """Measure, value, status, reason and array of one row; not a number means undefined, infinite is invalid."""
    if np.isinf(value).any():
        return [name, None, "invalid", f"{name} is infinite", None]
    if np.isnan(value).all():
        return [name, None, "excluded", f"{name} is undefined for this case", None]
    if value.ndim:
        return [name, None, "valid", "", value.ravel().tolist()]
    return [name, float(value), "valid", "", None]


def _stored_prediction(row: Mapping[str, Any], classes: tuple[str, ...]) -> Prediction | Failure:
    if row["status"] != "valid":
        return Failure(row["reason"], row["status"])
    return Prediction(np.asarray(row["logits"]), classes, np.asarray(row["probabilities"]), int(row["decision"]))
