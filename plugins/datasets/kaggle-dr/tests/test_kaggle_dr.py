"""Tests of Kaggle-DR: the published layout with tiny photographs, and faulty tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_kaggle_dr.kaggle_dr import KaggleDr


def photograph(path: Path, red: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (12, 8), (red, 10, 20)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,4\n13_left,2\n")
    (tmp_path / "retinopathy_solution.csv").write_text("image,level,Usage\n1_left,1,Private\n2_right,3,Public\n")
    for name, red in (("train/10_left", 50), ("train/10_right", 90), ("test/1_left", 130), ("test/2_right", 170)):
        photograph(tmp_path / f"{name}.jpeg", red)
    return tmp_path


def test_splits_grades_and_patients(root: Path) -> None:
    photograph(root / "train/13_left.jpeg", 10)
    dataset = KaggleDr(root=root)
    assert dataset.ids("train") == ["10_left", "10_right", "13_left"]
    assert dataset.ids("tuning") == ["2_right"]
    assert dataset.ids("test") == ["1_left"]
    sample = dataset.load("10_right")
    assert (sample.label, sample.patient, sample.annotations, sample.field) == (4, "10", (), None)
    assert dataset.classes[4] == "proliferative"
    assert sample.image.dtype == np.uint8
    np.testing.assert_allclose(sample.image.mean(axis=(1, 2)), [90, 10, 20], atol=2)
    np.testing.assert_allclose(dataset.load("1_left").image[0], 130, atol=2)
    check_dataset(dataset)
    tallies = counts_of(dataset)
    assert [tallies[f"samples in {split}"][1] for split in dataset.splits] == [35_126, 10_906, 42_670]
    assert tallies["samples"] == (5, 88_702)
    assert not any(count for count, expected in tallies.values() if expected == 0)


def test_one_table_is_enough(root: Path) -> None:
    (root / "retinopathy_solution.csv").unlink()
    dataset = KaggleDr(root=root)
    assert dataset.ids() == dataset.ids("train")
    assert dataset.ids("tuning") == []
    assert counts_of(dataset)["missing tables"] == (1, None)


def many(root: Path, patients: int) -> Path:
    """Write two tables with this many patients each, two eyes per patient, without photographs."""
    train = [f"{number}_{eye},{number % 5}" for number in range(patients) for eye in ("left", "right")]
    test = [
        f"{patients + number}_{eye},{number % 5},Private" for number in range(patients) for eye in ("left", "right")
    ]
    (root / "trainLabels.csv").write_text("\n".join(("image,level", *train)))
    (root / "retinopathy_solution.csv").write_text("\n".join(("image,level,Usage", *test)))
    return root


def parts(dataset: KaggleDr) -> dict[str, set[str]]:
    """The patients of each split, after asserting that both eyes of each patient are in one split."""
    patients = {}
    for split in dataset.splits:
        ids = dataset.ids(split)
        patients[split] = {dataset.patient(id) for id in ids}
        assert len(ids) == 2 * len(patients[split])
    assert len(set.union(*patients.values())) == sum(map(len, patients.values()))
    return patients


def test_a_share_of_the_training_patients_is_held_out(tmp_path: Path) -> None:
    shares = {"train": 0.8, "tuning": 0.2, "test": 0}
    dataset = KaggleDr(root=many(tmp_path, 2000), division="held_out", shares=shares)
    patients = parts(dataset)
    assert patients["test"] == {str(number) for number in range(2000, 4000)}
    # González-Gonzalo et al. 2018: 7,028 of 35,126 photographs; 2,000 patients stray by 1.8 % (two deviations).
    assert abs(len(patients["tuning"]) / 2000 - 7_028 / 35_126) < 0.018
    other = KaggleDr(root=tmp_path, division="held_out", shares=shares, seed=1)
    assert parts(other)["tuning"] != patients["tuning"]
    assert dataset.published == {"samples": 88_702}


def test_all_patients_are_pooled(tmp_path: Path) -> None:
    shares = {"train": 0.773, "tuning": 0.1135, "test": 0.1135}
    patients = parts(KaggleDr(root=many(tmp_path, 2000), division="pooled", shares=shares))
    # Van Craenendonck et al. 2020: 68,074, 10,000 and 10,000 photographs.
    for split, count in (("train", 68_074), ("tuning", 10_000), ("test", 10_000)):
        assert abs(len(patients[split]) / 4000 - count / 88_074) < 0.013
    assert {int(number) // 2000 for number in patients["tuning"]} == {0, 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_headers_with_blanks_in_other_encodings(root: Path, encoding: str) -> None:
    (root / "trainLabels.csv").write_text("Image ; level\n10_left; 3\né_left;1\n", encoding=encoding)
    assert KaggleDr(root=root).load("10_left").label == 3
    assert KaggleDr(root=root).patient("é_left") == "é"


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("trainLabels.csv", "image,grade\n10_left,0\n", "has no column 'level'"),
        ("trainLabels.csv", "", "has no column 'image'"),
        ("retinopathy_solution.csv", "image,level\n1_left,0\n", "has no column 'Usage'"),
    ],
)
def test_tables_without_a_column(root: Path, table: str, text: str, message: str) -> None:
    (root / table).write_text(text)
    with pytest.raises(DataError, match=message):
        KaggleDr(root=root).ids()


def test_rows_that_cannot_be_used_are_counted(root: Path) -> None:
    rows = (
        "10_left,0", "10_right,7", "13_left", "14_up,1", "../15_left,1", "16_left,1,more", "17_left,1,,", "17_left,1",
        "18_left,1", "18_left,2", "1_left,0",
    )  # fmt: skip
    (root / "trainLabels.csv").write_text("\n".join(("image,level", *rows)))
    (root / "retinopathy_solution.csv").write_text("image,level,Usage\n1_left,1,Private\n2_right,3,Secret\n")
    dataset = KaggleDr(root=root)
    assert dataset.ids() == ["10_left", "17_left"]
    tallies = counts_of(dataset)
    assert tallies["rows that cannot be used"] == (6, 0)
    assert tallies["samples listed twice"] == (1, 0)
    assert tallies["ids with two meanings"] == (2, 0)


def test_a_patient_in_two_splits_is_rejected(root: Path) -> None:
    (root / "retinopathy_solution.csv").write_text(
        "image,level,Usage\n1_left,1,Private\n1_right,1,Public\n13_right,1,Public"
    )
    dataset = KaggleDr(root=root)
    assert dataset.ids() == ["10_left", "10_right"]
    assert counts_of(dataset)["patients in two splits"] == (2, 0)
    assert KaggleDr(root=root, division="pooled").ids() == [
        "10_left",
        "10_right",
        "13_left",
        "1_left",
        "1_right",
        "13_right",
    ]


def test_missing_tables_images_and_ids(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(DataError, match=r"neither trainLabels\.csv nor retinopathy_solution\.csv; obtain it from"):
        KaggleDr(root=tmp_path_factory.mktemp("empty")).ids()
    with pytest.raises(DataError, match=r"13_left\.jpeg does not exist"):
        KaggleDr(root=root).load("13_left")
    with pytest.raises(DataError, match="has no '14_left'"):
        KaggleDr(root=root).load("14_left")
    (root / "train/10_left.jpeg").write_bytes(b"no image")
    tallies = {tally.what: tally for tally in KaggleDr(root=root).check()}
    missing = tallies["missing images"]
    assert (missing.count, missing.expected) == (1, 0)
    assert "13_left.jpeg; obtain it from the Kaggle competition" in missing.example
    assert tallies["unreadable samples"].count == 1
    assert KaggleDr(root=root, absent="skip").ids("train") == ["10_left", "10_right"]


def test_identity_counts_tables_by_content_and_images_by_size(root: Path) -> None:
    before = KaggleDr(root=root).identity
    (root / "notes.txt").write_text("mine")
    assert KaggleDr(root=root).identity == before
    (root / "trainLabels.csv").write_text("image,level\n10_left,1\n10_right,4\n13_left,2\n")
    changed = KaggleDr(root=root).identity
    photograph(root / "train/13_left.jpeg", 9)
    assert len({before, changed, KaggleDr(root=root).identity}) == 3


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.full((3, 8, 12), 77, dtype=np.uint8)
    eyes = [
        Sample("synthetic_3_left", image, label=4),
        Sample("synthetic_3_right", image + np.uint8(50), label=0),
        Sample("synthetic_4_left", image, label=2, extras={"split": "test"}),
        Sample("synthetic_5_left", image, label=1, extras={"split": "tuning"}),
    ]
    assert KaggleDr(root=tmp_path).write(eyes, tmp_path / "twin") == 4
    dataset = KaggleDr(root=tmp_path / "twin")
    assert dataset.ids("train") == ["synthetic_3_left", "synthetic_3_right"]
    assert (dataset.ids("test"), dataset.ids("tuning")) == (["synthetic_4_left"], ["synthetic_5_left"])
    for eye in eyes:
        actual = dataset.load(eye.id)
        assert (actual.label, actual.patient) == (eye.label, eye.id.rsplit("_", 1)[0])
        np.testing.assert_allclose(actual.image, eye.image, atol=2)
    assert (tmp_path / "twin/retinopathy_solution.csv").read_text().split() == [
        "image,level,Usage",
        "synthetic_5_left,1,Public",
        "synthetic_4_left,2,Private",
    ]
    check_dataset(dataset)


def test_samples_that_the_layout_cannot_hold_are_refused(tmp_path: Path) -> None:
    eye = Sample("synthetic_3_left", np.zeros((3, 8, 12), dtype=np.uint8), label=4)
    dataset = KaggleDr(root=tmp_path)
    for id in ("a", "a/b_left", "_left"):
        with pytest.raises(DataError, match="end with _left or _right"):
            dataset.write([replace(eye, id=id)], tmp_path / "a")
    for label in (None, -1, (1, 2)):
        with pytest.raises(DataError, match="needs one class index"):
            dataset.write([replace(eye, label=label)], tmp_path / f"b{label}")
    with pytest.raises(DataError, match="no split 'private'"):
        dataset.write([replace(eye, extras={"split": "private"})], tmp_path / "c")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/trainLabels.csv").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        dataset.write([eye], tmp_path / "d")
