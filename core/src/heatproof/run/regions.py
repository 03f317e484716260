"""The regions of a task's samples, over which logits per pixel are summed; they are stored beside the heatmaps."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..passes import logits, unsummed
from ..plan.task import Unit
from ..records import Explanation, Prediction, Sample
from ..regions import annotated, parted, predicted
from .outcome import Failure
from .work import Work

STORED = "region"
"""The name of the region among the arrays that are kept of a case."""
EMPTY = {
    "mask": "the annotation of {!r} is empty on the model's grid, so there is no region: mask",
    "predicted": "{!r} is predicted at no pixel, so there is no region: predicted",
}
"""Region → why a sample has none."""


def over_regions(
    work: Work, batch: Batch, samples: Mapping[str, Sample], target: str
) -> tuple[Batch | None, dict[str, Failure]]:
    """The batch with the regions of its samples, and by id the failures of samples without one.

    A region follows from the unchanged image, also where noisy or perturbed copies are explained.
    """

    def act(piece: Batch) -> dict[str, Tensor | Failure]:
        with work.bounded(work.task.prediction, "prediction"):
            values = unsummed(piece)
        regions = _predicted(piece, values) if parted(target)[1] == "predicted" else [None] * len(piece)
        grid = tuple(values.shape[2:])
        return {id: _region(work, samples[id], target, grid, where) for id, where in zip(piece.ids, regions)}

    regions = work.divided(batch, act, "region", lambda result: result)
    failures = {id: region for id, region in regions.items() if isinstance(region, Failure)}
    rows = [row for row, id in enumerate(batch.ids) if id not in failures]
    if not rows:
        return None, failures
    if failures:
        batch = batch.select(rows)
    weights = torch.stack([torch.as_tensor(regions[id]) for id in batch.ids])
    return batch.at(region=weights.to(batch.images.device)), failures


def with_region(explanation: Explanation, batch: Batch) -> Explanation:
    """The explanation with the region of each sample beside it, and the score that was explained as a note."""
    if batch.region is None:
        return explanation
    notes = {
        "region_score": batch.pick(logits(batch)).tolist(),
        "region_pixels": batch.region.flatten(1).sum(1).tolist(),
    }
    return replace(explanation, notes={**explanation.notes, **notes}, kept={**explanation.kept, STORED: batch.region})


def stored_region(work: Work, unit: Unit, row: int) -> Tensor | None:
    """The region (1, *grid) that a stored heatmap explains; None for a target of the whole image."""
    if not parted(unit.combination.target)[1]:
        return None
    region = work.run.maps(unit.key, row, f"kept_{STORED}.zarr")
    return torch.from_numpy(region)[None].to(work.task.device)


def prediction_over(batch: Batch) -> Prediction:
    """The scores (class,) of a batch of one over its region, which are no probabilities and decide on no class."""
    scores = logits(batch)[0].cpu().numpy()
    classes = batch.model.classes
    return Prediction(scores, classes, np.full(len(classes), np.nan), -1)


def _predicted(batch: Batch, values: Tensor) -> list[Tensor]:
    return list(predicted(batch.model, values, batch.targets))


def _region(work: Work, sample: Sample, target: str, grid: tuple[int, ...], where: Tensor | None) -> Tensor | Failure:
    """The weights (*grid) float32 of one sample's region, ``where`` the class is predicted or it is annotated."""
    name, region = parted(target)
    try:
        weights = torch.from_numpy(annotated(sample, name, grid)) if where is None else where.float()
    except Exception as error:
        return work.outcome.failure(f"region of {sample.id}", error)
    if not bool(weights.any()):
        return Failure(EMPTY[region].format(name), "invalid")
    return weights
