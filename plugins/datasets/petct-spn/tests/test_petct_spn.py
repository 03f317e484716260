"""Tests of petct_spn: counts of the study, missing and damaged images, and samples written and read back."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_image
from heatproof_petct_spn.petct_spn import PetctSpn


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of the first class, four of the second, of three patients."""
    names = ("benign/1_a", "benign/1_b", "Malignant/2_a", "Malignant/2_b", "Malignant/3_a", "Malignant/3_b")
    for value, name in enumerate(names):
        write_image(np.full((3, 8, 9), value, dtype=np.uint8), tmp_path / f"{name}.png")
    return tmp_path


def test_classes_patients_and_counts(root: Path) -> None:
    dataset = PetctSpn(root=root, patient="^([0-9]+)_")
    malignant = ["malignant/2_a", "malignant/2_b", "malignant/3_a", "malignant/3_b"]
    assert dataset.ids() == ["benign/1_a", "benign/1_b", *malignant]
    sample = dataset.load("malignant/2_a")
    assert (sample.label, sample.patient, sample.annotations) == (1, "2", ())
    assert (sample.image == 2).all()
    assert PetctSpn(root=root).patient("malignant/2_a") == "malignant/2_a"
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert (tallies["samples of benign"], tallies["samples of malignant"]) == ((2, 61), (4, 111))
    assert (tallies["samples"], tallies["patients"]) == ((6, 172), (3, None))
    assert not any(count for count, expected in tallies.values() if expected == 0)


def test_missing_folders_say_that_there_is_no_public_source(root: Path) -> None:
    (root / "Malignant").rename(root / "other")
    assert counts_of(PetctSpn(root=root))["missing folders"] == (1, 0)
    (root / "benign").rename(root / "another")
    with pytest.raises(
        DataError, match="no folder named benign or malignant; no public source is known, so ask the authors"
    ):
        PetctSpn(root=root).ids()


def test_damaged_and_duplicated_images(root: Path) -> None:
    (root / "benign/1_a.png").write_bytes(b"no image")
    write_image(np.zeros((3, 8, 9), dtype=np.uint8), root / "Malignant/2_a.jpg")
    dataset = PetctSpn(root=root)
    assert "malignant/2_a" not in dataset.ids()
    tallies = counts_of(dataset)
    assert (tallies["unreadable samples"], tallies["ids with two meanings"]) == ((1, 0), (1, 0))
    with pytest.raises(DataError, match=r"1_a\.png is damaged"):
        dataset.load("benign/1_a")


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    samples = [Sample(f"s{n}", image + np.uint8(n), label=n % 5, patient=f"p{n}") for n in range(30)]
    assert PetctSpn(root=tmp_path).write(samples, tmp_path / "twin") == 30
    dataset = PetctSpn(root=tmp_path / "twin")
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
