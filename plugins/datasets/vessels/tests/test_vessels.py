"""Tests of vessels: the layouts of CHASE_DB1 and DRIVE with synthetic images, and damaged files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Sample
from heatproof.testing import check_dataset
from heatproof.testing.dataset import counts_of
from heatproof_cohorts.image_files import write_binary, write_image
from heatproof_vessels.vessels import Vessels

SHAPE = (16, 14)


def mask(column: int) -> Array:
    """A vessel of two pixels' width."""
    values = np.zeros(SHAPE, dtype=bool)
    values[2:14, column : column + 2] = True
    return values


def field() -> Array:
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - 7.5, columns - 6.5) < 6


def photograph(path: Path, value: int = 90) -> None:
    write_image(np.full((3, *SHAPE), value, dtype=np.uint8), path)


def faults(dataset: Vessels) -> dict[str, int]:
    return {tally.what: tally.count for tally in dataset.check() if tally.expected == 0 and tally.count}


@pytest.fixture
def chase(tmp_path: Path) -> Path:
    """Both eyes of twenty children, with the masks of both readers, but for one of the second."""
    for child in range(1, 21):
        for side in "LR":
            photograph(tmp_path / f"Image_{child:02d}{side}.jpg", 4 * child)
            for name, column in (("1stHO", 3), ("2ndHO", 4)):
                Image.fromarray(mask(column)).save(tmp_path / f"Image_{child:02d}{side}_{name}.png")  # one bit
    (tmp_path / "Image_02R_2ndHO.png").unlink()
    return tmp_path


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Two training and two test images; the second reader annotated the test images."""
    for number, part in ((21, "training"), (22, "training"), (1, "test"), (2, "test")):
        folder = tmp_path / "DRIVE" / part
        photograph(folder / f"images/{number:02d}_{part}.tif", number)
        write_binary(mask(3), folder / f"1st_manual/{number:02d}_manual1.gif")
        write_binary(field(), folder / f"mask/{number:02d}_{part}_mask.gif")
        if part == "test":
            write_binary(mask(5), folder / f"2nd_manual/{number:02d}_manual2.gif")
    return tmp_path


def test_masks_of_both_readers_of_chase_db1(chase: Path) -> None:
    dataset = Vessels(root=chase, readers="both")
    assert (len(dataset.ids()), dataset.readers) == (40, ("first", "second"))
    sample = dataset.load("07L")
    assert (sample.patient, sample.label, sample.field) == ("07", None, None)
    assert [(a.finding, a.reader, a.kind) for a in sample.annotations] == [
        ("vessels", "first", "mask"),
        ("vessels", "second", "mask"),
    ]
    first, second = (annotation.values for annotation in sample.annotations)
    np.testing.assert_array_equal(first, mask(3))
    assert (first & second).sum() / (first | second).sum() == pytest.approx(1 / 3)
    np.testing.assert_allclose(sample.image, 28, atol=2)
    assert [annotation.reader for annotation in dataset.load("02R").annotations] == ["first"]
    assert counts_of(dataset)["images without the mask of the second reader"] == (1, None)
    assert counts_of(dataset)["samples"] == (40, 28)
    assert faults(dataset) == {}
    check_dataset(dataset)


def test_children_are_in_one_split(chase: Path) -> None:
    dataset = Vessels(root=chase)
    parts = [{dataset.patient(id) for id in dataset.ids(split)} for split in dataset.splits]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    assert dataset.tuning == "tuning"


@pytest.mark.parametrize(("readers", "training"), [("first", ["first"]), ("second", []), ("both", ["first"])])
def test_fields_and_published_splits_of_drive(drive: Path, readers: Any, training: list[str]) -> None:
    dataset = Vessels(root=drive, source="drive", readers=readers)
    assert [dataset.ids(split) for split in dataset.splits] == [["21", "22"], [], ["01", "02"]]
    assert (dataset.tuning, dataset.patient("21")) == ("train", "21")
    sample = dataset.load("21")
    assert [annotation.reader for annotation in sample.annotations] == training
    np.testing.assert_array_equal(sample.field, field())
    np.testing.assert_array_equal(sample.image, np.full((3, *SHAPE), 21))
    expected = {"first": ["first"], "second": ["second"], "both": ["first", "second"]}[readers]
    tested = dataset.load("02")
    assert [annotation.reader for annotation in tested.annotations] == expected
    np.testing.assert_array_equal(tested.annotations[-1].values, mask(3 if expected[-1] == "first" else 5))
    assert counts_of(dataset)["samples in train"] == (2, 20)
    assert faults(dataset) == {}
    check_dataset(dataset)


def test_newer_downloads_of_drive_lack_masks_of_test_images(drive: Path) -> None:
    for path in [
        *drive.rglob("*_manual2.gif"),
        *drive.rglob("test/1st_manual/*"),
        drive / "DRIVE/test/mask/01_test_mask.gif",
    ]:
        path.unlink()
    dataset = Vessels(root=drive, source="drive")
    assert (dataset.load("01").annotations, dataset.load("01").field) == ((), None)
    tallies = counts_of(dataset)
    assert tallies["images without the mask of the first reader"] == (2, None)
    assert tallies["images without a mask of the field of view"] == (1, None)
    assert faults(dataset) == {}


def test_other_file_types_and_deeper_folders(drive: Path) -> None:
    """Mirrors convert masks to PNG or TIFF, and add folders above and litter beside the files."""
    path = drive / "DRIVE/training/1st_manual/21_manual1.gif"
    Image.fromarray(np.dstack([mask(6)] * 3).astype(np.uint8) * 255).save(drive / "DRIVE/training/21_MANUAL1.PNG")
    path.unlink()
    photograph(drive / "__MACOSX/21_training.tif")
    (drive / "DRIVE").rename(drive / "deeper")
    dataset = Vessels(root=drive, source="drive")
    np.testing.assert_array_equal(dataset.load("21").annotations[0].values, mask(6))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: write_binary(mask(3)[:8], folder / "1st_manual/21_manual1.gif"),
            r"21_manual1\.gif has \(8, 14\)",
        ),
        (lambda folder: write_binary(field().T, folder / "mask/21_training_mask.gif"), r"_mask\.gif has \(14, 16\)"),
        (lambda folder: (folder / "1st_manual/21_manual1.gif").write_bytes(b"GIF89a"), r"21_manual1\.gif"),
    ],
)
def test_masks_that_do_not_fit(drive: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(drive / "DRIVE/training")
    dataset = Vessels(root=drive, source="drive")
    with pytest.raises(DataError, match=message):
        dataset.load("21")
    assert dataset.load("22").annotations
    assert faults(dataset) == {"unreadable samples": 1}


def test_masks_with_lossy_compression_are_refused(chase: Path) -> None:
    write_image(mask(3)[None].astype(np.uint8) * np.uint8(255), chase / "Image_03L_1stHO.jpg")
    (chase / "Image_03L_1stHO.png").unlink()
    with pytest.raises(DataError, match=r"Image_03L_1stHO\.jpg is of a kind that cannot be used here; allowed: \.png"):
        Vessels(root=chase).load("03L")


def test_files_twice_and_files_without_an_image(chase: Path) -> None:
    (chase / "Image_05L.jpg").unlink()
    dataset = Vessels(root=chase)
    assert "05L" not in dataset.ids()
    assert faults(dataset) == {"masks without an image": 2}
    write_binary(mask(3), chase / "copy/Image_06L_1stHO.png")
    with pytest.raises(DataError, match=r"Image_06L_1stHO\.png and .*are the same file of one image; keep one of them"):
        Vessels(root=chase).ids()


def test_folders_without_images(chase: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image such as test/images/01_test\.tif; obtain it from the page 'DRIVE"):
        Vessels(root=chase, source="drive").ids()
    with pytest.raises(DataError, match=r"no image such as Image_01L\.jpg; obtain it from the page 'CHASE_DB1"):
        Vessels(root=tmp_path / "nothing").ids()


@pytest.mark.parametrize("source", ["chase_db1", "drive"])
def test_samples_are_written_and_read_back(source: Any, tmp_path: Path) -> None:
    image = np.full((3, *SHAPE), 90, dtype=np.uint8)
    annotations = (
        Annotation("vessels", mask(3), reader="first"),
        Annotation("arteries", mask(5) * 0.75),
        Annotation("vessels", mask(7), reader="second"),
    )
    samples = [
        Sample(f"synthetic_{n}", image + np.uint8(n), annotations, n, f"p{n // 2}", field=field(),
               extras={"split": ("train", "test")[n // 4]})
        for n in range(8)
    ]  # fmt: skip
    root = tmp_path / "twin"
    assert Vessels(root=root, source=source).write(samples, root) == 8
    dataset = Vessels(root=root, source=source, readers="both")
    assert faults(dataset) == {}
    for id, sample in zip(dataset.ids(), samples, strict=True):
        actual = dataset.load(id)
        np.testing.assert_allclose(actual.image, sample.image, atol=2)
        np.testing.assert_array_equal(actual.annotations[0].values, mask(3) | mask(5))
        np.testing.assert_array_equal(actual.annotations[1].values, mask(7))
        np.testing.assert_array_equal(actual.field, field())
    expected = {"chase_db1": ("04R", "04"), "drive": ("08", "08")}[source]
    assert (id, actual.patient) == expected
    assert (root / "origin.csv").read_text().splitlines()[-1] == f"{id},synthetic_7,p3"
    if source == "drive":
        assert dataset.ids("test") == ["05", "06", "07", "08"]
    check_dataset(dataset)
    with pytest.raises(DataError, match="is not empty"):
        dataset.write(samples, root)


def test_a_child_has_two_eyes(tmp_path: Path) -> None:
    sample = Sample("a", np.zeros((3, *SHAPE), dtype=np.uint8), patient="p")
    with pytest.raises(DataError, match="patient p has more than two images"):
        Vessels(root=tmp_path).write([replace(sample, id=id) for id in "abc"], tmp_path / "twin")
