"""The labels of samples as indices of a model's classes: those of the dataset, or the findings in the annotations."""

import numpy as np

from heatproof.dataset import Dataset
from heatproof.errors import DataError, near
from heatproof.model import Model
from heatproof.records import Sample

TRACE = 0.5
"""The area of a finding, in pixels of the prepared image, from which it counts as present."""


def labels_of(sample: Sample, dataset: Dataset, model: Model) -> int | tuple[int, ...] | None:
    """Translate the labels of a sample into indices of the model's classes, which are matched by name.

    Of several labels those that the model has no class for are left out. Raises ``DataError`` for a label outside the
    dataset's classes, and for a single label without a class of the model.
    """
    if sample.label is None:
        return None
    names = [_class_name(sample.id, int(index), dataset) for index in np.atleast_1d(np.asarray(sample.label))]
    if isinstance(sample.label, tuple):
        return tuple(model.classes.index(name) for name in names if name in model.classes)
    if names[0] not in model.classes:
        raise DataError(
            f"sample {sample.id} is labelled {names[0]!r}, which is no class of {model.short}; name the "
            f"classes of the dataset in the model, or leave such samples out ({near(names[0], model.classes)})."
        )
    return model.classes.index(names[0])


def _class_name(id: str, index: int, dataset: Dataset) -> str:
    if not 0 <= index < len(dataset.classes):
        count = len(dataset.classes)
        allowed = f"0 to {count - 1}" if count else "none, as it names no classes"
        raise DataError(f"label {index} of {id} is outside the {count} classes of {dataset.short}; allowed: {allowed}.")
    return dataset.classes[index]


def annotated(sample: Sample, model: Model) -> tuple[int, ...]:
    """Return the indices of the model's classes that are findings with half a pixel or more inside the field.

    Raises ``DataError`` for a class that nobody examined the sample for, and for one that is a density.
    """
    return tuple(index for index, finding in enumerate(model.classes) if _area(sample, finding, model) >= TRACE)


def _area(sample: Sample, finding: str, model: Model) -> float:
    """The area of a finding inside the field, in pixels."""
    if any(annotation.finding == finding and annotation.kind == "density" for annotation in sample.annotations):
        raise DataError(
            f"labels: annotations counts the pixels that a finding covers, but the annotation of {finding!r} on "
            f"{sample.id} is a density, which covers none; name findings with masks or boxes as classes of the model."
        )
    mask = sample.mask(finding)
    if mask is None:
        examined = ", ".join(sample.findings()) or "none"
        raise DataError(
            f"labels: annotations needs every class of {model.short} to be a finding of each sample, but nobody "
            f"examined {sample.id} for {finding!r} (examined: {examined}); name findings as classes of the model, or "
            "leave the sample out."
        )
    if sample.field is not None:
        mask = mask[sample.field]
    return float(mask.sum(dtype=np.float64))
