"""Tests of polar_map: counts of the study, missing and damaged images, and samples written and read back."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_polar_map.polar_map import PolarMap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of the first class, four of the second, of three patients."""
    for value, name in enumerate(("normal/1_a", "normal/1_b", "CAD/2_a", "CAD/2_b", "CAD/3_a", "CAD/3_b")):
        write_image(np.full((3, 8, 9), value, dtype=np.uint8), tmp_path / f"{name}.png")
    return tmp_path


def test_classes_patients_and_counts(root: Path) -> None:
    dataset = PolarMap(root=root, patient="^([0-9]+)_")
    assert dataset.ids() == ["normal/1_a", "normal/1_b", "cad/2_a", "cad/2_b", "cad/3_a", "cad/3_b"]
    sample = dataset.load("cad/2_a")
    assert (sample.label, sample.patient, sample.annotations) == (1, "2", ())
    assert (sample.image == 2).all()
    assert PolarMap(root=root).patient("cad/2_a") == "cad/2_a"
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert (tallies["samples of normal"], tallies["samples of cad"]) == ((2, 80), (4, 136))
    assert (tallies["samples"], tallies["patients"]) == ((6, 216), (3, None))
    assert not any(count for count, expected in tallies.values() if expected == 0)


def test_missing_folders_say_that_there_is_no_public_source(root: Path) -> None:
    (root / "CAD").rename(root / "other")
    assert counts_of(PolarMap(root=root))["missing folders"] == (1, 0)
    (root / "normal").rename(root / "another")
    with pytest.raises(DataError, match="no folder named normal or cad; its source is not public, so ask the authors"):
        PolarMap(root=root).ids()


def test_damaged_and_duplicated_images(root: Path) -> None:
    (root / "normal/1_a.png").write_bytes(b"no image")
    write_image(np.zeros((3, 8, 9), dtype=np.uint8), root / "CAD/2_a.jpg")
    dataset = PolarMap(root=root)
    assert "cad/2_a" not in dataset.ids()
    tallies = counts_of(dataset)
    assert (tallies["unreadable samples"], tallies["ids with two meanings"]) == ((1, 0), (1, 0))
    with pytest.raises(DataError, match=r"1_a\.png is damaged"):
        dataset.load("normal/1_a")


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    samples = [Sample(f"s{n}", image + np.uint8(n), label=n % 5, patient=f"p{n}") for n in range(30)]
    assert PolarMap(root=tmp_path).write(samples, tmp_path / "twin") == 30
    dataset = PolarMap(root=tmp_path / "twin")
    assert len(dataset.ids()) == 30
    for sample in samples:
        label = min(int(sample.label or 0), 1)  # type: ignore[arg-type]
        actual = dataset.load(f"{dataset.classes[label]}/{sample.id}")
        assert actual.label == label
        np.testing.assert_array_equal(actual.image, sample.image)
    assert all(dataset.ids(split) for split in dataset.splits)
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
    with pytest.raises(DataError, match="needs one class index"):
        dataset.write([Sample("s", image)], tmp_path / "other")
