"""Tests of fundus_lesions: masks, contours and a table of grades, and faults in them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Sample
from heatproof.testing import check_dataset
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_fundus_lesions.fundus_lesions import FundusLesions

SHAPE = (40, 60)


def photograph(path: Path, value: int = 0) -> Path:
    write_image(np.full((3, *SHAPE), value, dtype=np.uint8), path)
    return path


def spot(top: int, left: int) -> Array:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[top : top + 3, left : left + 4] = True
    return mask


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)
    return path


def faults(dataset: FundusLesions) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check() if tally.expected == 0 and tally.count}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both eyes of patient 7 and one of 8; red lesions as a mask in 7_left, hard exudates as contours in 8_left."""
    for value, name in enumerate(("7_left.jpg", "7_right.png", "8_left.tif")):
        photograph(tmp_path / "images" / name, 40 * value)
    write_mask(spot(2, 5), tmp_path / "masks/red_lesions/7_left.tif")
    text(
        tmp_path / "contours/8_left.csv",
        "finding,reader,contour,x,y\nhard_exudates,A,1,10,4\nhard_exudates,A,1,14.5,4\nhard_exudates,A,1,14.5,6\n"
        "hard_exudates,A,1,10,6\nhard_exudates,B,1,30,20\nhard_exudates,B,1,34,20\nhard_exudates,B,1,34,24\n"
        "cotton_wool_spots,A,,,\n",
    )
    text(
        tmp_path / "grades.csv",
        "name,grade,patient,reader\n7_left,2,7,consensus\n7_right.png,3,7,\n8_left,,8,consensus\n",
    )
    return tmp_path


def test_grades_patients_and_annotations(root: Path) -> None:
    dataset = FundusLesions(root=root)
    assert dataset.ids() == dataset.ids("test") == ["7_left", "7_right", "8_left"]
    assert dataset.findings == ("cotton_wool_spots", "hard_exudates", "red_lesions")
    left, right, other = (dataset.load(id) for id in dataset.ids())
    assert [(sample.label, sample.patient) for sample in (left, right, other)] == [(2, "7"), (3, "7"), (None, "8")]
    (mask,) = left.annotations
    assert (mask.finding, mask.reader, mask.kind) == ("red_lesions", "consensus", "mask")
    np.testing.assert_array_equal(mask.values, spot(2, 5))
    assert right.annotations == ()
    assert [(annotation.finding, annotation.reader) for annotation in other.annotations] == [
        ("hard_exudates", "A"),
        ("hard_exudates", "B"),
        ("cotton_wool_spots", "A"),
    ]
    rectangle, triangle, empty = (annotation.values for annotation in other.annotations)
    assert rectangle[4:6, 10:14].min() == 1
    assert rectangle[4:6, 14].tolist() == [0.5, 0.5]
    assert (float(rectangle.sum()), float(triangle.sum())) == (4.5 * 2, 4 * 4 / 2)
    assert not empty.any()
    check_dataset(dataset)
    assert faults(dataset) == {}
    assert [path.name for path in dataset.files()][-2:] == ["7_left.tif", "8_left.csv"]


def test_the_setting_decides_about_missing_annotations(root: Path) -> None:
    absent = FundusLesions(root=root, unmarked="absent").load("7_right")
    assert absent.findings() == ("cotton_wool_spots", "hard_exudates", "red_lesions")
    assert not any(annotation.values.any() for annotation in absent.annotations)
    write_mask(np.zeros(SHAPE, dtype=bool), root / "masks/red_lesions/7_right.tif")
    examined = FundusLesions(root=root).load("7_right")
    assert examined.findings() == ("red_lesions",)
    assert not examined.annotations[0].values.any()


def test_every_contour_is_a_lesion_of_the_mask(tmp_path: Path) -> None:
    """The masks have as many lesions as the files have contours."""
    rng = np.random.default_rng(3)
    written: Counter[str] = Counter()
    for number in range(6):
        photograph(tmp_path / f"images/{number}.png")
        contours = []
        for cell in rng.permutation(15)[: rng.integers(1, 15)]:
            centre = np.array([12 * (cell % 5) + 6, 12 * (cell // 5) + 8])
            angles = np.sort(rng.random(9)) * 2 * np.pi
            corners = centre + rng.uniform(0.3, 4.5) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            finding = ("red_lesions", "hard_exudates")[cell % 2]
            contours.append({"finding": finding, "points": corners.tolist()})
            written[finding] += 1
        text(tmp_path / f"contours/{number}.json", json.dumps(contours))
    dataset = FundusLesions(root=tmp_path)
    lesions: Counter[str] = Counter()
    for id in dataset.ids():
        for annotation in dataset.load(id).annotations:
            lesions[annotation.finding] += ndimage.label(annotation.values > 0, np.ones((3, 3)))[1]
    assert lesions == written
    assert sum(written.values()) > 30


def test_without_a_table_the_photographs_are_the_list(root: Path) -> None:
    (root / "grades.csv").unlink()
    photograph(root / "images/deeper/9_left.png")
    write_mask(spot(1, 1), root / "masks/red_lesions/deeper/9_left.tif")
    dataset = FundusLesions(root=root, patient="^([0-9]+)_")
    assert dataset.ids() == ["7_left", "7_right", "8_left", "deeper/9_left"]
    assert [dataset.patient(id) for id in dataset.ids()] == ["7", "7", "8", "9"]
    assert dataset.load("7_left").label is None
    assert dataset.load("deeper/9_left").findings() == ("red_lesions",)
    assert faults(dataset) == {}


def test_patients_may_be_divided(root: Path) -> None:
    rows = [f"{number}_{eye},2,{number}," for number in range(100) for eye in ("left", "right")]
    text(root / "grades.csv", "\n".join(("name,grade,patient,reader", *rows)))
    dataset = FundusLesions(root=root, shares={"train": 0, "tuning": 0.5, "test": 0.5})
    parts = [{dataset.patient(id) for id in dataset.ids(split)} for split in dataset.splits]
    assert parts[0] == set()
    assert all(parts[1:])
    assert len(parts[1]) + len(parts[2]) == len(parts[1] | parts[2]) == 100


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_tables_of_other_programs(root: Path, encoding: str) -> None:
    text(root / "grades.csv", "Name;Grade\n7_left;4\né;1\n", encoding)
    text(root / "contours/7_left.csv", "Finding;Contour;X;Y\nnävus;1;1;1\nnävus;1;4;1\nnävus;1;4;4\n", encoding)
    dataset = FundusLesions(root=root)
    assert (dataset.load("7_left").label, dataset.ids()) == (4, ["7_left", "é"])
    assert dataset.load("7_left").findings() == ("red_lesions", "nävus")


def test_rows_that_cannot_be_used_are_counted(root: Path) -> None:
    rows = (
        "7_left,2,7,", "7_left,2,7,", "7_right,3,7,", "7_right,4,7,", "8_left,5,8,", "../x,1,1,", ",1,1,",
        "9_left,1,9,A,more", "10_left,1,10,",
    )  # fmt: skip
    text(root / "grades.csv", "\n".join(("name,grade,patient,reader", *rows)))
    dataset = FundusLesions(root=root)
    assert dataset.ids() == ["7_left", "10_left"]
    assert faults(dataset) == {
        "samples listed twice": 1,
        "ids with two meanings": 1,
        "rows that cannot be used": 4,
        "contours without an image": 1,
        "missing images": 1,
    }
    with pytest.raises(DataError, match=r"10_left\.png does not exist"):
        dataset.load("10_left")
    assert FundusLesions(root=root, absent="skip").ids() == ["7_left"]


def test_photographs_without_a_row_and_duplicated_ones(root: Path) -> None:
    photograph(root / "images/9_left.png")
    photograph(root / "images/7_left.png")
    dataset = FundusLesions(root=root)
    assert dataset.ids() == ["7_right", "8_left"]
    tallies = {tally.what: tally.count for tally in dataset.check()}
    assert (tallies["photographs without a row"], tallies["ids with two meanings"]) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "grades.csv").write_text("image,grade\n7_left,1\n"), "has no column 'name'"),
        (
            lambda root: (root / "grades.csv").write_text("name,grade\n"),
            r"no photograph in images/ and no row in grades",
        ),
    ],
)
def test_tables_that_cannot_be_read(root: Path, damage: Any, message: str) -> None:
    damage(root)
    with pytest.raises(DataError, match=message):
        FundusLesions(root=root).ids()


def test_masks_and_contours_that_do_not_fit(root: Path) -> None:
    write_mask(spot(1, 1)[:, :30], root / "masks/red_lesions/7_right.tif")
    write_mask(spot(1, 1), root / "masks/red_lesions/nobody.tif")
    text(root / "contours/nobody.json", "[]")
    dataset = FundusLesions(root=root)
    with pytest.raises(DataError, match=r"7_right\.tif has \(40, 30\) pixels, its image \(40, 60\)"):
        dataset.load("7_right")
    assert faults(dataset) == {
        "masks without an image": 1,
        "contours without an image": 1,
        "unreadable samples": 1,
    }
    photograph(root / "masks/red_lesions/7_left.png")
    with pytest.raises(DataError, match=r"7_left\.png and .*7_left\.tif annotate the same finding of one image"):
        FundusLesions(root=root).load("7_left")


def test_an_invalid_contour_makes_only_its_photograph_unreadable(root: Path) -> None:
    text(root / "contours/8_left.csv", "finding,contour,x,y\nscar,1,1,1\nscar,1,61,1\nscar,1,2,2\n")
    dataset = FundusLesions(root=root)
    with pytest.raises(DataError, match=r"line 2: the contour leaves the image of 40 × 60 pixels"):
        dataset.load("8_left")
    assert dataset.load("7_left").findings() == ("red_lesions",)
    assert faults(dataset) == {"unreadable samples": 1}


def test_samples_are_written_and_read_back(tmp_path: Path) -> None:
    image = np.full((3, *SHAPE), 90, dtype=np.uint8)
    box = np.zeros(SHAPE)
    box[2:6, 3:5] = 1
    annotations = (
        Annotation("red_lesions", spot(3, 4), reader="phantom"),
        Annotation("hard_exudates", np.zeros(SHAPE, dtype=bool), reader="phantom"),
        Annotation("cotton_wool_spots", box, "box", reader="phantom"),
    )
    samples = [Sample(f"s{n}", image + np.uint8(n), annotations, n % 5, f"p{n // 2}") for n in range(6)]
    samples.append(replace(samples[0], id="ungraded", label=None, annotations=()))
    assert FundusLesions(root=tmp_path).write(samples, tmp_path / "twin") == 7
    dataset = FundusLesions(root=tmp_path / "twin")
    assert dataset.ids() == [sample.id for sample in samples]
    for sample in samples:
        actual = dataset.load(sample.id)
        assert (actual.label, actual.patient) == (sample.label, sample.patient)
        np.testing.assert_array_equal(actual.image, sample.image)
        assert {(annotation.finding, annotation.kind, annotation.reader) for annotation in actual.annotations} == {
            (annotation.finding, annotation.kind, annotation.reader) for annotation in sample.annotations
        }
        for finding in sample.findings():
            np.testing.assert_array_equal(actual.mask(finding), sample.mask(finding))
    assert faults(dataset) == {}
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, tmp_path / "twin")
    with pytest.raises(DataError, match="cannot be the name of a file"):
        dataset.write([replace(samples[0], id="a/b")], tmp_path / "other")


def test_files_that_are_passed_over_are_counted(root: Path) -> None:
    for name in ("images/9.xcf", "masks/red_lesions/9.npy"):
        (root / name).touch()
    Image.fromarray(spot(2, 5)).save(root / "masks/red_lesions/8_left.gif")
    Image.fromarray(np.zeros(SHAPE, dtype=np.uint8)).save(root / "images/10_left.bmp")
    dataset = FundusLesions(root=root)
    counted = {tally.what: tally.count for tally in dataset.passed_over()}
    assert counted == {"files passed over (.xcf)": 1, "files passed over (.npy)": 1}
    np.testing.assert_array_equal(dataset.load("8_left").mask("red_lesions"), spot(2, 5))
    assert str(root / "images/10_left.bmp") in dataset.listing.unused["photographs without a row"]
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.zeros(SHAPE, dtype=np.uint8)).save(root / "images/8_left.tif", exif=exif)
    with pytest.raises(DataError, match="set `turned` of the dataset"):
        dataset.load("8_left")
    turned = FundusLesions(root=root, turned="stored").load("8_left")
    np.testing.assert_array_equal(turned.mask("red_lesions"), spot(2, 5)[::-1, ::-1])
