"""The logit that is explained: the index of a combination's target in each sample."""

import numpy as np

from ..dataset import Dataset
from ..model import Model
from ..plan.task import LABELLED, Combination
from ..records import Prediction, Sample
from ..regions import parted
from .outcome import Failure


def target_of(
    sample: Sample, prediction: Prediction | Failure, combination: Combination, model: Model
) -> int | Failure:
    """The index of the logit to explain; a failure without a prediction, unless the combination is model-free."""
    target = combination.target
    dataset = combination.source.dataset
    if combination.model_free:
        return 0
    name, region = parted(target)
    # A network with logits per pixel decides on no class of the image, and its prediction is excluded.
    if region and (isinstance(prediction, Prediction) or prediction.status == "excluded"):
        return int(model.target(name))
    if isinstance(prediction, Failure):
        return prediction
    if target in ("", "logit"):
        return 0
    if target == "predicted":
        return prediction.decision
    if target == "label":
        return _labelled(sample, dataset, model)
    name = target.removeprefix(LABELLED)
    labels = [dataset.classes[index] for index in label_indices(sample) or [] if 0 <= index < len(dataset.classes)]
    if name != target and name not in labels:
        return Failure(f"the sample is not labelled {name!r}", "excluded")
    return int(model.target(name))


def _labelled(sample: Sample, dataset: Dataset, model: Model) -> int | Failure:
    """The index of the logit for the class of the sample's single label."""
    labels = label_indices(sample)
    if labels is None or np.ndim(np.asarray(sample.label)):
        return Failure("the sample has no single label to explain", "excluded")
    if not 0 <= labels[0] < len(dataset.classes):
        return Failure(f"label {labels[0]} is outside the {len(dataset.classes)} classes of {dataset.short}")
    name = dataset.classes[labels[0]]
    if name not in model.classes:
        return Failure(f"the model has no class {name!r}", "excluded")
    return int(model.target(name))


def label_indices(sample: Sample) -> list[int] | None:
    """The label as class indices, None without a label."""
    return None if sample.label is None else [int(index) for index in np.atleast_1d(sample.label)]
