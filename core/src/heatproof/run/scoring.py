"""The second half of a task: every metric scores the predictions and heatmaps of the store."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from ..batch import Batch
from ..errors import Interference, Undefined
from ..explainer import heatmaps
from ..guard import guarded
from ..imaging.losses import EXTRA, Losses
from ..metric import Case, Metric
from ..plan.task import ASKING, RUNNING, Combination, Unit
from ..process_state import Process
from ..records import Array, Heatmap, Measurement, Prediction, Sample, Score, read_only
from ..regions import parted
from ..results.parquet import write_records
from ..watch import again, watched
from .outcome import Failure
from .predictions import Predictions, stored_predictions
from .regions import prediction_over, stored_region
from .targets import target_of
from .work import Work


class Scoring:
    """The scores of one task, from its committed heatmaps and predictions."""

    def __init__(self, work: Work):
        self.work = work
        # Read once for all metrics of a unit, which must get copies.
        self._maps = lru_cache(maxsize=1)(work.run.maps)

    def score(self) -> None:
        """Commit every score unit that is missing."""
        task = self.work.task
        for metric in task.metrics:
            self._commit(task.scores(metric), metric, None)
        for unit in task.units:
            for metric in unit.metrics:
                self._commit(unit.scores(metric), metric, unit)

    def _commit(self, key: str, metric: Metric, unit: Unit | None) -> None:
        """Score every case from the store, and commit the rows."""
        run = self.work.run
        if run.has("scores", key):
            return
        runs_model = bool(metric.needs & RUNNING)
        if runs_model:
            self.work.weights.seal()
        rows = [row for score, heatmap in self._cases(unit) for row in self._rows(metric, score, heatmap, unit)]
        if runs_model and self.work.weights.damaged():
            self.work.weights.recover()
            error = Interference(f"{metric.short} changes weights or buffers of the model; let it work on a copy.")
            failure = self.work.outcome.failure(metric.short, error)
            rows = [_without_value(metric, score, failure) for score, _ in self._cases(unit)]
        meta = {"metric": metric.describe(), "heatmaps": unit and unit.key, "predictions": self.work.task.prediction}
        if "annotation" in metric.needs:
            meta[EXTRA] = self._losses
        with run.commit("scores", key, meta) as folder:
            write_records(folder / "scores.parquet", Score, rows)

    def _cases(self, unit: Unit | None) -> Iterator[tuple[Score, Heatmap | Failure | None]]:
        """Every case as an empty score; for a unit with its heatmap from the store, or the failure in place of it."""
        dataset = self.work.task.source.dataset
        if unit is None:
            yield from ((Score(id, dataset.patient(id)), None) for id in self.work.task.ids)
            return
        maps = self._maps(unit.key)
        for row, case in enumerate(self.work.run.meta("heatmaps", unit.key)["cases"]):
            notes = json.dumps(case["notes"], sort_keys=True)
            path = f"heatmaps/{unit.key}/maps.zarr"
            score = Score(case["id"], dataset.patient(case["id"]), notes=notes, heatmap=path, row=row)
            if case["status"] == "valid":
                yield score, Heatmap(maps[row].copy())
            else:
                yield score, Failure(case["reason"], case["status"])

    @cached_property
    def _losses(self) -> dict[str, Losses]:
        """What the preparation loses of each readable sample's annotations, by id."""
        samples = [sample for sample in self.work.samples.all().values() if isinstance(sample, Sample)]
        return {sample.id: sample.extras[EXTRA] for sample in samples if EXTRA in sample.extras}

    @cached_property
    def _process(self) -> Process:
        """The state of the process, read once: it is the same after each case."""
        return Process()

    @cached_property
    def _predictions(self) -> Predictions:
        return stored_predictions(self.work)

    def _rows(self, metric: Metric, score: Score, heatmap: Heatmap | Failure | None, unit: Unit | None) -> list[Score]:
        """The scores of a case: one per measure, or a single one with the reason why there is none."""
        sample = self.work.samples.all()[score.case]
        prediction = self._predictions[score.case]
        needed: list[Any] = [heatmap, sample]
        over_region = unit is not None and parted(unit.combination.target)[1]
        if metric.needs & ASKING and not (over_region and metric.needs & RUNNING):
            needed.append(prediction)
        failure = next((entry for entry in needed if isinstance(entry, Failure)), None)
        if failure is None:
            try:
                # mypy does not infer that sample and heatmap are no failures.
                return self._measured(metric, score, sample, prediction, heatmap, unit)  # type: ignore[arg-type]
            except Exception as error:
                failure = self.work.outcome.failure(f"{metric.short} of {score.case}", error)
        return [_without_value(metric, score, failure)]

    def _measured(
        self, metric: Metric, score: Score, sample: Sample, prediction: Prediction | Failure,
        heatmap: Heatmap | None, unit: Unit | None,
    ) -> list[Score]:  # fmt: skip
        """The scores of a case that can be measured."""
        predicted = prediction if isinstance(prediction, Prediction) else None
        classes = self.work.task.source.dataset.classes
        readable = Case(read_only(sample), read_only(predicted), read_only(heatmap), classes=classes)
        key = f"{unit.key if unit else self.work.task.prediction}-{metric.identity}"

        def measure() -> Measurement:
            case = replace(readable, **self._model_parts(metric, score, sample, prediction, unit))
            guard = guarded(metric.short, case.batch) if case.batch else watched(metric.short, self._process)
            with self.work.outcome.clock("metrics"), self.work.bounded(key, metric.short), guard:
                return metric.measure(case)

        measured = again(measure)
        if not measured:
            raise Undefined(f"{metric.short} measured nothing")
        return [_with_value(score, name, np.asarray(value, dtype=np.float64)) for name, value in measured.items()]

    def _model_parts(
        self, metric: Metric, score: Score, sample: Sample, prediction: Prediction | Failure, unit: Unit | None
    ) -> dict[str, Any]:
        """The parts of a case for a metric that uses the model or the explainer, such as its batch."""
        if not metric.needs & RUNNING:
            return {}
        batch = self.work.batch([sample])
        if unit is None:
            return {"batch": batch}
        target = target_of(sample, prediction, unit.combination, self.work.model)
        if isinstance(target, Failure):
            raise Undefined(target.reason)
        region = stored_region(self.work, unit, score.row or 0)
        batch = batch.at(targets=[target], region=region)
        parts: dict[str, Any] = {"batch": batch}
        if region is not None:
            parts["prediction"] = prediction_over(batch)
        if "explainer" in metric.needs:
            parts |= {"explain": partial(_explain, unit.combination), "traits": unit.combination.explainer.traits}
        return parts


def _without_value(metric: Metric, score: Score, failure: Failure) -> Score:
    """A score with the reason why there is no value."""
    return replace(score, measure=metric.primary, status=failure.status, reason=failure.reason)


def _explain(combination: Combination, batch: Batch) -> Array:
    """The heatmaps (n, *space) of a batch by the explainer and the reduction of a combination."""
    observed = batch.at(layers=combination.explainer.layers(batch.model))
    return heatmaps(combination.explainer(observed), combination.reduction)


def _with_value(score: Score, name: str, value: Array) -> Score:
    """A score with the value of one measure: NaN makes it excluded, infinity invalid."""
    if np.isinf(value).any():
        return replace(score, measure=name, status="invalid", reason=f"{name} is infinite")
    if np.isnan(value).all():
        return replace(score, measure=name, status="excluded", reason=f"{name} is undefined for this case")
    if value.ndim:
        return replace(score, measure=name, array=value.ravel().tolist())
    return replace(score, measure=name, value=float(value))
