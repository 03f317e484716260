"""The synthetic twin: drawn, written as the archive publishes scans, and read back."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.testing import check_dataset
from heatproof_lidc.lidc import Lidc

drawing = pytest.importorskip("heatproof_phantom.thorax")


def test_a_twin_is_written_and_read_back(tmp_path: Path) -> None:
    drawn = [drawing.thorax(patient, 5, 48) for patient in range(6)]
    assert Lidc(root=tmp_path).write(drawn, tmp_path / "twin") == 6
    dataset = Lidc(root=tmp_path / "twin", crop="scan")
    for sample, id in zip(drawn, dataset.ids(), strict=True):
        read = dataset.load(id)
        assert read.patient == sample.patient
        for own, other in zip(sample.annotations, read.annotations, strict=True):
            assert (own.values & other.values).sum() >= 0.95 * (own.values | other.values).sum()
        assert np.abs(read.image.astype(int) - sample.image).max() <= np.ceil(65535 / 1400 / 2)
        assert read.geometry.spacing == pytest.approx(sample.geometry.spacing)
        marks = [sorted((mark["reader"], mark["box"], mark["malignancy"]) for mark in one.extras["ratings"])
                 for one in (sample, read)]  # fmt: skip
        assert marks[0] == marks[1]
    check_dataset(dataset)
    nodules = Lidc(root=tmp_path / "twin")
    assert {nodules.load(id).label for id in nodules.ids()} == {0, 1}
    check_dataset(nodules)
