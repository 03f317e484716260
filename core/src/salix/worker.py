"""What a worker does with a task: explain what is missing, then score the heatmaps as the store returns them."""

import json
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .chunk import Chunk, Failure, Outcome
from .explaining import Explaining
from .metric import Case, Metric, Undefined
from .plan import Task, Unit
from .records import Array, Heatmap, Prediction, Sample
from .store import SCORE_COLUMNS, Run, read_table, write_table


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
        task, cases = self.chunk.task, self._stored_cases(unit)
        maps = self.chunk.run.maps(unit.key) if unit is not None else None
        rows = []
        for row, (id, failure, notes) in enumerate(cases):
            values = None if maps is None else maps[row]
            measured = failure or self._measured(metric, id, values, unit)
            place = [f"heatmaps/{unit.key}/maps.zarr", row] if unit is not None else [None, None]
            rows += [
                [id, self.chunk.task.source.dataset.group(id), *entry, notes, *place]
                for entry in _entries(measured, metric)
            ]
        meta = {
            "metric": metric.describe(),
            "heatmaps": unit.key if unit else None,
            "predictions": self.chunk.task.prediction,
        }
        with self.chunk.run.commit("scores", key, meta) as folder:
            write_table(folder / "scores.parquet", SCORE_COLUMNS, rows)

    def _stored_cases(self, unit: Unit | None) -> list[tuple[str, Failure | None, str]]:
        """Id, failure and notes (JSON) of every case, as committed."""
        if unit is None:
            return [(id, made if isinstance(made, Failure) else None, "{}") for id, made in self._predictions.items()]
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

    def _measured(self, metric: Metric, id: str, values: Array | None, unit: Unit | None) -> Any:
        """A measurement, or why there is none."""
        sample, prediction = self.chunk.samples[id], self._predictions.get(id)
        if isinstance(sample, Failure):
            return sample
        if isinstance(prediction, Failure) and metric.needs & {"prediction", "model", "explainer"}:
            return prediction
        case = Case(
            sample,
            prediction if isinstance(prediction, Prediction) else None,
            Heatmap(values) if values is not None else None,
            *self._asked(metric, sample, prediction, unit),
        )
        try:
            with self.chunk.clock("metrics"):
                return metric.measure(case)
        except Undefined as error:
            return Failure(str(error), "excluded")
        except Exception as error:
            return self.chunk.failure(f"{metric.short} of {id}", error)

    def _asked(self, metric: Metric, sample: Sample, prediction: Any, unit: Unit | None) -> tuple[Any, Any]:
        """The batch and the explainer, for metrics that ask the model or the explainer."""
        if not metric.needs & {"model", "explainer"}:
            return None, None
        batch = self.chunk.batch([sample])
        if unit is None:
            return batch, None
        target = self.chunk.target(sample, prediction, unit.combination)
        at = batch.at(targets=[target if isinstance(target, int) else 0])
        return at, unit.combination.explainer if "explainer" in metric.needs else None


def _entries(measured: Any, metric: Metric) -> Iterator[list[Any]]:
    """Measure, value, status, reason and array of each row that a measurement makes."""
    if isinstance(measured, Failure):
        yield [metric.primary, None, measured.status, measured.reason, None]
        return
    for name, value in measured.items():
        if np.ndim(value):
            yield [name, None, "valid", "", np.ravel(value).astype(float).tolist()]
        elif not np.isfinite(value):
            status = "excluded" if np.isnan(value) else "invalid"
            yield [name, None, status, f"{name} is {'undefined for this case' if np.isnan(value) else value}", None]
        else:
            yield [name, float(value), "valid", "", None]


def _stored_prediction(row: Mapping[str, Any], classes: tuple[str, ...]) -> Prediction | Failure:
    if row["status"] != "valid":
        return Failure(row["reason"], row["status"])
    return Prediction(np.asarray(row["logits"]), classes, np.asarray(row["probabilities"]), int(row["decision"]))
