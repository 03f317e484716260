"""Test of the synthetic twin: scans of the phantom, written in the layout of LIDC-IDRI and read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof_lidc.lidc import Lidc

thorax = pytest.importorskip("heatproof_phantom.thorax")


def ratings(sample: Sample) -> list[tuple[Any, ...]]:
    return sorted((rating["reader"], rating["box"], rating["malignancy"]) for rating in sample.extras["ratings"])


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    samples = [thorax.thorax(patient, 5, 48) for patient in range(6)]
    assert Lidc(root=tmp_path).write(samples, tmp_path / "twin") == 6
    dataset = Lidc(root=tmp_path / "twin", crop="scan")
    for sample, id in zip(samples, dataset.ids(), strict=True):
        actual = dataset.load(id)
        assert actual.patient == sample.patient
        for annotation, other in zip(sample.annotations, actual.annotations, strict=True):
            assert (annotation.values & other.values).sum() >= 0.95 * (annotation.values | other.values).sum()
        assert np.abs(actual.image.astype(int) - sample.image).max() <= np.ceil(65535 / 1400 / 2)
        assert actual.geometry.spacing == pytest.approx(sample.geometry.spacing)
        assert ratings(actual) == ratings(sample)
    check_dataset(dataset)
    nodules = Lidc(root=tmp_path / "twin")
    assert {nodules.load(id).label for id in nodules.ids()} == {0, 1}
    check_dataset(nodules)
