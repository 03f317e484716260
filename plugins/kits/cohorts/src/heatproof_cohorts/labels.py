"""Labels of samples that may belong to several classes at once."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from heatproof.records import Label, Sample
from heatproof_cohorts.manifest import ListedDataset


def label_of(indices: Iterable[int]) -> Label:
    """Make the label of a sample that was examined for all classes: one index, or a tuple of several or of none.

    >>> label_of([3]), label_of([1, 3]), label_of([])
    (3, (1, 3), ())
    """
    label = tuple(dict.fromkeys(indices))
    if len(label) == 1:
        return label[0]
    return label


def indices_to_write(dataset: ListedDataset[Any], sample: Sample) -> list[int]:
    """List the classes under which a sample is written; raises ``DataError`` where it has no label."""
    labels = sample.label
    if not isinstance(labels, tuple):
        return [dataset.class_to_write(sample)]
    return [dataset.class_to_write(replace(sample, label=label)) for label in labels]
