"""Kaggle-DR in its published layout with tiny photographs, and with every table that is not as published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salix.errors import DataError
from salix.records import Sample
from salix_kaggle_dr.kaggle_dr import KaggleDr


def photograph(path: Path, red: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (12, 8), (red, 10, 20)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "trainLabels.csv").write_text("image,level\n10_left,0\n10_right,4\n13_left,2\n")
    (tmp_path / "retinopathy_solution.csv").write_text("image,level,Usage\n1_left,1,Private\n1_right,3,Public\n")
    for name, red in (("train/10_left", 50), ("train/10_right", 90), ("test/1_left", 130), ("test/1_right", 170)):
        photograph(tmp_path / f"{name}.jpeg", red)
    return tmp_path


def test_splits_grades_and_patients(root: Path) -> None:
    dataset = KaggleDr(root=root)
    assert dataset.ids("train") == ["10_left", "10_right", "13_left"]
    assert dataset.ids("public") == ["1_right"]
    assert dataset.ids("private") == ["1_left"]
    assert len(dataset.ids()) == 5
    sample = dataset.load("10_right")
    assert (sample.label, sample.group, sample.annotations, sample.field) == (4, "10", (), None)
    assert dataset.classes[4] == "proliferative"
    assert sample.image.dtype == np.uint8
    np.testing.assert_allclose(sample.image.mean(axis=(1, 2)), [90, 10, 20], atol=2)
    np.testing.assert_allclose(dataset.load("1_left").image[0], 130, atol=2)


def test_one_table_is_enough(root: Path) -> None:
    (root / "retinopathy_solution.csv").unlink()
    dataset = KaggleDr(root=root)
    assert dataset.ids() == dataset.ids("train")
    assert dataset.ids("public") == []


def test_headers_with_blanks_and_a_byte_order_mark(root: Path) -> None:
    (root / "trainLabels.csv").write_bytes("\ufeffimage , level\n10_left, 3\n".encode())
    assert KaggleDr(root=root).load("10_left").label == 3


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("trainLabels.csv", "image,grade\n10_left,0\n", "has no column 'level'"),
        ("trainLabels.csv", "", "has no column 'image'"),
        ("trainLabels.csv", "image,level\n10_left,0\n10_right,7\n", r"line 3: level '7'"),
        ("trainLabels.csv", "image,level\n10_left\n", r"line 2: level ''"),
        ("trainLabels.csv", "image,level\n1_left,0\n", "names 1_left a second time"),
        ("retinopathy_solution.csv", "image,level,Usage\n1_left,0,Secret\n", "usage 'secret'"),
    ],
)
def test_tables_that_are_not_as_published(root: Path, table: str, text: str, message: str) -> None:
    (root / table).write_text(text)
    with pytest.raises(DataError, match=message):
        KaggleDr(root=root).ids()


def test_missing_tables_pictures_and_ids(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(DataError, match=r"neither trainLabels\.csv nor retinopathy_solution\.csv; download"):
        KaggleDr(root=tmp_path_factory.mktemp("empty")).ids()
    with pytest.raises(DataError, match=r"13_left\.jpeg does not exist"):
        KaggleDr(root=root).load("13_left")
    with pytest.raises(DataError, match="no image '14_left'"):
        KaggleDr(root=root).load("14_left")
    found = {finding.what: finding for finding in KaggleDr(root=root).check()}
    assert (found["missing pictures"].count, found["missing pictures"].expected) == (1, 0)
    assert found["missing pictures"].example.endswith("13_left.jpeg")
    assert (found["rows of train"].count, found["rows of train"].expected) == (3, 35126)


def test_identity_counts_tables_by_content_and_pictures_by_size(root: Path) -> None:
    before = KaggleDr(root=root).identity
    (root / "notes.txt").write_text("mine")
    assert KaggleDr(root=root).identity == before
    (root / "trainLabels.csv").write_text("image,level\n10_left,1\n10_right,4\n13_left,2\n")
    changed = KaggleDr(root=root).identity
    photograph(root / "train/13_left.jpeg", 9)
    assert len({before, changed, KaggleDr(root=root).identity}) == 3


def test_a_twin_is_written_and_read_back(tmp_path: Path) -> None:
    image = np.full((3, 8, 12), 77, dtype=np.uint8)
    eyes = [
        Sample("synthetic_3_left", image, label=4),
        Sample("synthetic_3_right", image + np.uint8(50), label=0),
        Sample("synthetic_4_left", image, label=2, extras={"split": "private"}),
        Sample("synthetic_5_left", image, label=1, extras={"split": "public"}),
    ]
    assert KaggleDr(root=tmp_path).write(eyes, tmp_path / "twin") == 4
    dataset = KaggleDr(root=tmp_path / "twin")
    assert dataset.ids("train") == ["synthetic_3_left", "synthetic_3_right"]
    assert (dataset.ids("private"), dataset.ids("public")) == (["synthetic_4_left"], ["synthetic_5_left"])
    for eye in eyes:
        read = dataset.load(eye.id)
        assert (read.label, read.group) == (eye.label, eye.id.rsplit("_", 1)[0])
        np.testing.assert_allclose(read.image, eye.image, atol=2)
    assert (tmp_path / "twin/retinopathy_solution.csv").read_text().split() == [
        "image,level,Usage",
        "synthetic_4_left,2,Private",
        "synthetic_5_left,1,Public",
    ]


def test_what_the_layout_cannot_hold_is_refused(tmp_path: Path) -> None:
    eye = Sample("synthetic_3_left", np.zeros((3, 8, 12), dtype=np.uint8), label=4)
    dataset = KaggleDr(root=tmp_path)
    with pytest.raises(DataError, match="end with _left or _right"):
        dataset.write([replace(eye, id="a")], tmp_path / "a")
    for label in (None, 5, (1, 2)):
        with pytest.raises(DataError, match="needs a grade"):
            dataset.write([replace(eye, label=label)], tmp_path / "b")
    with pytest.raises(DataError, match="no split 'tuning'"):
        dataset.write([replace(eye, extras={"split": "tuning"})], tmp_path / "c")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/trainLabels.csv").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        dataset.write([eye], tmp_path / "d")
