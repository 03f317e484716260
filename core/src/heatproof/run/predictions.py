"""The predictions of a task: computed once, committed, and read back from the store."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..batch import Batch
from ..errors import Interference, ModelError
from ..model import Model
from ..passes import unsummed
from ..plan.sample_cache import prepared
from ..records import Prediction, Sample
from ..results.parquet import PredictedCase, write_records
from ..watch import settled
from .empty_findings import annotated, shown_findings
from .outcome import Failure
from .targets import label_indices
from .work import Work

Predictions = Mapping[str, Prediction | Failure]


def predict(work: Work, batch: Batch) -> dict[str, Prediction | Failure]:
    """The predictions of a batch by id, or their failures."""

    def act(batch: Batch) -> dict[str, Prediction | Failure]:
        with work.bounded(work.task.prediction, "prediction"):
            values = unsummed(batch)
        if len(values) != len(batch):
            raise ModelError(
                f"{work.model.short} gave logits of shape {tuple(values.shape)} for {len(batch)} images; it must give "
                "one row of logits per image."
            )
        return dict(zip(batch.ids, _read(work.model, values)))

    try:
        return settled(work.model.short, lambda: work.divided(batch, act, "prediction", lambda prediction: prediction))
    except Interference as error:
        return dict.fromkeys(batch.ids, work.outcome.failure(f"predictions of {', '.join(batch.ids)}", error))


def _read(model: Model, logits: Tensor) -> list[Prediction | Failure]:
    """The predictions from logits (n, class); excluded for logits per pixel (n, class, *grid)."""
    finite = logits.isfinite().flatten(1).all(1).tolist()
    undefined = Failure("the logits are not finite", "invalid")
    if logits.ndim > 2:
        undecided = Failure(f"{model.short} gives logits per pixel and decides on no class of the image", "excluded")
        return [undecided if is_finite else undefined for is_finite in finite]
    rows = zip(logits.cpu().numpy(), finite)
    return [model.read(row) if is_finite else undefined for row, is_finite in rows]


def commit_predictions(work: Work, predictions: Predictions) -> None:
    """Commit the predictions of a task unless they are committed already."""
    task = work.task
    dataset = task.source.dataset
    if work.run.has("predictions", task.prediction):
        return
    samples = work.samples.all()
    rows = [_row(work, id, samples[id], predictions.get(id)) for id in task.ids]
    meta = {
        "dataset": dataset.describe(), "model": work.model.describe(), "findings": dataset.findings,
        "classes": {"dataset": dataset.classes, "model": work.model.classes}, "ids": task.ids, "files": _files(work),
        "samples": prepared(task.cache).keys(dataset, work.model, task.ids),
        "weights": work.model.weights_digest if predictions else None,
        "annotated": annotated(sample for sample in samples.values() if isinstance(sample, Sample)),
    }  # fmt: skip
    with work.run.commit("predictions", task.prediction, meta) as folder:
        write_records(folder / "predictions.parquet", PredictedCase, rows)


def _row(work: Work, id: str, sample: Sample | Failure, prediction: Prediction | Failure | None) -> PredictedCase:
    patient = work.task.source.dataset.patient(id)
    if isinstance(sample, Failure):
        return PredictedCase(id, patient, status=sample.status, reason=sample.reason)
    known = PredictedCase(id, patient, label_indices(sample), findings=shown_findings(sample))
    if isinstance(prediction, Prediction):
        outputs = {"logits": prediction.logits.tolist(), "probabilities": prediction.probabilities.tolist()}
        return replace(known, decision=prediction.decision, **outputs)
    assert prediction is not None
    return replace(known, status=prediction.status, reason=prediction.reason)


def _files(work: Work) -> dict[str, str]:
    """Path → digest of the files of the samples; paths within the dataset's root are relative to it."""
    dataset = work.task.source.dataset
    samples = [sample for sample in work.samples.all().values() if isinstance(sample, Sample)]
    paths = sorted({path for sample in samples for path in dataset.files_of(sample.id) or _sources(sample)})
    digests = prepared(work.task.cache).contents.stamps.of(paths)
    return {relative(path, dataset.root()): value for path, value in zip(paths, digests) if value}


def _sources(sample: Sample) -> set[Path]:
    origins = (sample.geometry, *sample.annotations)
    return {Path(origin.source) for origin in origins if origin is not None and origin.source}


def relative(path: Path, root: Path | None) -> str:
    """A path relative to the root that it lies in, any other as it is."""
    if root and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path)


def stored_predictions(work: Work) -> dict[str, Prediction | Failure]:
    """The predictions of a task by id, read from the store."""
    table = work.run.table("predictions", work.task.prediction)
    rows = (dict(zip(table, values)) for values in zip(*table.values()))
    return {row["case"]: _stored(row, work.model) for row in rows}


def _stored(row: Mapping[str, Any], model: Model) -> Prediction | Failure:
    if row["status"] != "valid":
        return Failure(row["reason"], row["status"])
    # A subclass that reads logits itself need not do what its head says.
    head = model.head if type(model).read is Model.read else None
    probabilities = np.asarray(row["probabilities"])
    return Prediction(np.asarray(row["logits"]), model.classes, probabilities, int(row["decision"]), head)
